//! `--constraint` under a rewrite. Many sites let users choose the GPU type by a node feature
//! (`--gres=gpu:8 -C h200`, `-C a100-80gb`); left as it is, such a feature would ask for a node that
//! has both GPUs. Pure; plugin and `omnipilot submit` share it.
//!
//! The expressions are those of `sbatch`: features joined by `&` or `,` (all) and `|` (any),
//! grouped by brackets of either kind, with node counts (`rack1*2`). An expression that is none of
//! these is not taken apart.

/// The names of one GPU type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeNames {
    /// Slurm GPU type (gres), lower case.
    pub name: String,
    /// Node features that choose it, beside those named like it.
    pub features: Vec<String>,
}

/// Deepest nesting of brackets that is followed.
const DEEPEST: u32 = 16;

/// What becomes of a constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adapted {
    /// It says nothing against the new GPU type.
    Same,
    /// It named other GPU types; this is the rest, empty for nothing.
    Rest(String),
    /// It excludes the new GPU type in a form that is not taken apart.
    Conflict,
}

/// Fits a constraint to the GPU type `wanted`. `types` are the GPU types that the cluster has.
///
/// What the rest allows, the constraint allowed for some GPU type: features that name no GPU are
/// kept, and where every alternative names another GPU, each is kept without it.
pub fn adapt(constraint: &str, wanted: &str, types: &[TypeNames]) -> Adapted {
    let names = Names { wanted, types };
    let Some(tree) = parse(constraint) else {
        let word = |c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
        let words = || constraint.split(word);
        let offered = words().any(|w| names.is_wanted(w));
        return if !offered && words().any(|w| names.is_other(w)) {
            Adapted::Conflict
        } else {
            Adapted::Same
        };
    };
    if names.allows(&tree) {
        return Adapted::Same;
    }
    match names.strip(&tree) {
        None => Adapted::Rest(String::new()),
        // How many nodes have what is part of the request: a count that is left stands alone.
        Some(rest) if rest.counts() => Adapted::Conflict,
        Some(rest) => Adapted::Rest(rest.text()),
    }
}

/// True where a node with these features meets a constraint; `None` for one that is not taken apart,
/// or that counts nodes. Slurm compares features letter by letter.
pub fn satisfied(constraint: &str, features: &[String]) -> Option<bool> {
    let tree = parse(constraint).filter(|tree| !tree.counts())?;
    Some(tree.is_met(features))
}

/// True where a constraint asks for something that names no GPU type: only some nodes may have it.
pub fn asks_for_more(constraint: &str, types: &[TypeNames]) -> bool {
    let between = |c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '='));
    let number = |w: &str| w.bytes().all(|b| b.is_ascii_digit());
    constraint
        .split(between)
        .filter(|w| !w.is_empty() && !number(w))
        .any(|w| type_of(w, types).is_none())
}

/// A constraint that asks for this feature too; `None` where it is not a plain list of features,
/// to which another cannot be joined.
pub fn with_feature(constraint: &str, feature: &str) -> Option<String> {
    let list = constraint.trim();
    if list.is_empty() {
        return Some(feature.to_owned());
    }
    if list.contains(['|', '[', ']', '(', ')', '*']) {
        return None;
    }
    let there = list
        .split(['&', ','])
        .any(|f| f.trim().eq_ignore_ascii_case(feature));
    Some(if there {
        list.to_owned()
    } else {
        format!("{list}&{feature}")
    })
}

/// The GPU type that a feature names: by the configuration's word, or else the longest type whose
/// parts it contains (`gpu_a100-80gb` names `a100`).
fn type_of<'a>(feature: &str, types: &'a [TypeNames]) -> Option<&'a str> {
    let said = |t: &&TypeNames| t.features.iter().any(|f| f.eq_ignore_ascii_case(feature));
    if let Some(named) = types.iter().find(said) {
        return Some(&named.name);
    }
    let parts = |text: &str| -> Vec<String> {
        text.to_ascii_lowercase()
            .split(['-', '_', '.', ':', '='])
            .map(str::to_owned)
            .collect()
    };
    let of_feature = parts(feature);
    types
        .iter()
        .filter(|t| !t.name.is_empty())
        .map(|t| (parts(&t.name), t))
        .filter(|(name, _)| of_feature.windows(name.len()).any(|w| w == name.as_slice()))
        .max_by_key(|(name, _)| name.len())
        .map(|(_, t)| t.name.as_str())
}

/// The names of GPU types, seen from the one that is wanted.
struct Names<'a> {
    wanted: &'a str,
    types: &'a [TypeNames],
}

impl Names<'_> {
    fn is_wanted(&self, feature: &str) -> bool {
        type_of(feature, self.types)
            .unwrap_or(feature)
            .eq_ignore_ascii_case(self.wanted)
    }

    fn is_other(&self, feature: &str) -> bool {
        type_of(feature, self.types).is_some_and(|name| !name.eq_ignore_ascii_case(self.wanted))
    }

    /// True where a node without any other GPU can satisfy it.
    fn allows(&self, node: &Node) -> bool {
        match node {
            Node::Feature(name, _) => !self.is_other(name),
            Node::All(parts) => parts.iter().all(|p| self.allows(p)),
            Node::Any(parts) => parts.iter().any(|p| self.allows(p)),
            Node::Group(_, inner, _) => self.allows(inner),
        }
    }

    /// Without the other GPUs; `None` for nothing.
    fn strip(&self, node: &Node) -> Option<Node> {
        if self.allows(node) {
            return Some(node.clone());
        }
        match node {
            Node::Feature(..) => None,
            Node::All(parts) => {
                let mut kept: Vec<Node> = parts.iter().filter_map(|p| self.strip(p)).collect();
                if kept.len() < 2 {
                    return kept.pop();
                }
                Some(Node::All(kept))
            }
            // One alternative that asks for nothing more is enough.
            Node::Any(parts) => {
                let kept: Option<Vec<Node>> = parts.iter().map(|p| self.strip(p)).collect();
                kept.map(Node::Any)
            }
            Node::Group(open, inner, count) => match self.strip(inner)? {
                single @ Node::Feature(..) if count.is_none() => Some(single),
                rest => Some(Node::Group(*open, rest.into(), count.clone())),
            },
        }
    }
}

/// A constraint, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    /// A feature and the number of nodes that are to have it.
    Feature(String, Option<String>),
    All(Vec<Node>),
    Any(Vec<Node>),
    /// In brackets: the opening one, what is inside, a number of nodes.
    Group(char, Box<Node>, Option<String>),
}

impl Node {
    fn is_met(&self, features: &[String]) -> bool {
        match self {
            Self::Feature(name, _) => features.iter().any(|f| f == name),
            Self::All(parts) => parts.iter().all(|p| p.is_met(features)),
            Self::Any(parts) => parts.iter().any(|p| p.is_met(features)),
            Self::Group(_, inner, _) => inner.is_met(features),
        }
    }

    fn counts(&self) -> bool {
        match self {
            Self::Feature(_, count) => count.is_some(),
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::counts),
            Self::Group(_, inner, count) => count.is_some() || inner.counts(),
        }
    }

    fn text(&self) -> String {
        let join = |parts: &[Self], with| {
            let texts: Vec<String> = parts.iter().map(Self::text).collect();
            texts.join(with)
        };
        let counted =
            |count: &Option<String>| count.as_ref().map_or_else(String::new, |n| format!("*{n}"));
        match self {
            Self::Feature(name, count) => format!("{name}{}", counted(count)),
            Self::All(parts) => join(parts, "&"),
            Self::Any(parts) => join(parts, "|"),
            Self::Group(open, inner, count) => {
                let close = if *open == '(' { ')' } else { ']' };
                format!("{open}{}{close}{}", inner.text(), counted(count))
            }
        }
    }
}

fn parse(text: &str) -> Option<Node> {
    let mut rest = text.trim();
    let node = any(&mut rest, 0)?;
    rest.is_empty().then_some(node)
}

fn eat(rest: &mut &str, wanted: &[char]) -> Option<char> {
    let c = rest.chars().next().filter(|c| wanted.contains(c))?;
    *rest = rest.get(c.len_utf8()..)?.trim_start();
    Some(c)
}

fn any(rest: &mut &str, depth: u32) -> Option<Node> {
    let mut parts = vec![all(rest, depth)?];
    while eat(rest, &['|']).is_some() {
        parts.push(all(rest, depth)?);
    }
    Some(one_or(parts, Node::Any))
}

fn all(rest: &mut &str, depth: u32) -> Option<Node> {
    let mut parts = vec![term(rest, depth)?];
    while eat(rest, &['&', ',']).is_some() {
        parts.push(term(rest, depth)?);
    }
    Some(one_or(parts, Node::All))
}

fn one_or(mut parts: Vec<Node>, many: impl FnOnce(Vec<Node>) -> Node) -> Node {
    if parts.len() == 1
        && let Some(one) = parts.pop()
    {
        return one;
    }
    many(parts)
}

fn term(rest: &mut &str, depth: u32) -> Option<Node> {
    if let Some(open) = eat(rest, &['(', '[']) {
        if depth >= DEEPEST {
            return None;
        }
        let inner = any(rest, depth + 1)?;
        eat(rest, &[if open == '(' { ')' } else { ']' }])?;
        return Some(Node::Group(open, inner.into(), count(rest)?));
    }
    let end = rest
        .find(|c: char| "&,|()[]*".contains(c) || c.is_whitespace())
        .unwrap_or(rest.len());
    let (name, after) = rest.split_at_checked(end)?;
    *rest = after.trim_start();
    if name.is_empty() {
        return None;
    }
    Some(Node::Feature(name.to_owned(), count(rest)?))
}

/// `*2`, or nothing; `None` for a star without a number.
fn count(rest: &mut &str) -> Option<Option<String>> {
    if eat(rest, &['*']).is_none() {
        return Some(None);
    }
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, after) = rest.split_at_checked(end)?;
    let digits = Some(digits.to_owned()).filter(|d| !d.is_empty())?;
    *rest = after.trim_start();
    Some(Some(digits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn types() -> Vec<TypeNames> {
        let plain = |name: &str| TypeNames {
            name: name.into(),
            features: Vec::new(),
        };
        let mut types: Vec<TypeNames> = ["a100", "h100", "h200"].map(plain).into();
        types[0].features.push("old-sxm".into());
        types
    }

    fn of(constraint: &str) -> Adapted {
        adapt(constraint, "h100", &types())
    }

    fn rest(text: &str) -> Adapted {
        Adapted::Rest(text.into())
    }

    #[test]
    fn a_feature_that_names_another_gpu_is_dropped() {
        for constraint in [
            "a100",
            "A100",
            "a100-80gb",
            "gpu_a100",
            "old-sxm",
            "nvidia-h200-nvl",
        ] {
            assert_eq!(of(constraint), rest(""), "{constraint}");
        }
        assert_eq!(of("ib&H200"), rest("ib"));
        assert_eq!(of("ib,a100-80gb,ssd"), rest("ib&ssd"));
    }

    #[test]
    fn everything_else_is_left_alone() {
        for constraint in [
            "",
            "h100",
            "h100-80gb&ib",
            "ib&ssd",
            "a1000",
            "h100|h200",
            "[h100|a100]",
            "rack1*2",
            "ib|a100",
            "(a100&ib)|(h100&ssd)",
        ] {
            assert_eq!(of(constraint), Adapted::Same, "{constraint}");
        }
    }

    #[test]
    fn a_choice_among_other_gpus_is_a_gpu_request_and_goes() {
        for constraint in ["a100|h200", "[a100|h200]", "[a100*2]", "(a100|h200-141gb)"] {
            assert_eq!(of(constraint), rest(""), "{constraint}");
        }
        assert_eq!(of("ib&(a100|h200)"), rest("ib"));
        assert_eq!(of("(a100&ib)|(h200&ssd)"), rest("ib|ssd"));
        assert_eq!(of("a100&(ib|ssd)"), rest("(ib|ssd)"));
    }

    #[test]
    fn what_is_not_taken_apart_is_a_conflict_only_where_it_excludes() {
        for constraint in ["[a100*2&ib*1]", "a100**", "(a100", "a100|"] {
            assert_eq!(of(constraint), Adapted::Conflict, "{constraint}");
        }
        for constraint in ["(h100|a100", "&&", "ib**"] {
            assert_eq!(of(constraint), Adapted::Same, "{constraint}");
        }
        let deep = format!("{}a100{}", "(".repeat(500), ")".repeat(500));
        assert_eq!(of(&deep), Adapted::Conflict);
    }

    #[test]
    fn the_longest_name_decides() {
        let mut types = types();
        types.push(TypeNames {
            name: "a100-80gb".into(),
            features: Vec::new(),
        });
        assert_eq!(adapt("a100-80gb", "a100", &types), rest(""));
        assert_eq!(adapt("a100-80gb", "a100-80gb", &types), Adapted::Same);
    }

    #[test]
    fn what_a_node_has_meets_a_constraint_or_does_not() {
        let node = ["ib".to_owned(), "gpu80".to_owned()];
        for (constraint, met) in [
            ("ib", Some(true)),
            ("IB", Some(false)),
            ("ib&gpu80", Some(true)),
            ("ib,ssd", Some(false)),
            ("ssd|gpu80", Some(true)),
            ("[ib|ssd]", Some(true)),
            ("(ssd&ib)|nvme", Some(false)),
            ("ib*2", None),
            ("ib**", None),
        ] {
            assert_eq!(satisfied(constraint, &node), met, "{constraint}");
        }
    }

    #[test]
    fn a_feature_is_joined_to_a_plain_list_alone() {
        assert_eq!(with_feature("", "h100").as_deref(), Some("h100"));
        assert_eq!(with_feature("ib", "h100").as_deref(), Some("ib&h100"));
        assert_eq!(with_feature("ib,H100", "h100").as_deref(), Some("ib,H100"));
        assert_eq!(with_feature("ib|ssd", "h100"), None);
    }

    proptest! {
        #[test]
        fn no_constraint_panics_and_no_other_gpu_is_demanded(
            parts in prop::collection::vec(prop::sample::select(vec![
                "a100", "h100", "h200", "ib", "ssd", "&", "|", ",", "(", ")", "[", "]", "*", "2", " ", "é",
            ]), 0..14)
        ) {
            let constraint = parts.concat();
            match of(&constraint) {
                Adapted::Rest(rest) => {
                    prop_assert!(rest.is_empty() || of(&rest) == Adapted::Same, "{constraint}: {rest}");
                }
                Adapted::Same | Adapted::Conflict => {}
            }
        }

        #[test]
        fn what_names_no_gpu_is_kept(features in prop::collection::vec("[b-g]{2,6}", 1..5)) {
            let constraint = features.join("&");
            prop_assert_eq!(of(&constraint), Adapted::Same);
            prop_assert_eq!(of(&format!("a100&{constraint}")), rest(&constraint));
        }
    }
}
