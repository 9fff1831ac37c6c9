//! Completions as a shell gives them: typed into a real zsh at a terminal, asked of bash's function.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::artifacts;

/// What is typed before the tab, and what stands there afterwards.
const TYPED: [(&str, &str); 7] = [
    ("omnipilot adv", "omnipilot advise"),
    ("omnipilot models rollb", "omnipilot models rollback"),
    ("omnipilot advise --llm-mod", "omnipilot advise --llm-model"),
    ("omnipilot --conf", "omnipilot --config"),
    ("omnipilot setup --en", "omnipilot setup --enable"),
    ("omnipilot export met", "omnipilot export metrics"),
    ("omnipilot nosuch", "omnipilot nosuch"),
];

/// zsh at a pseudo-terminal of its own: each line, a tab, and a key that shows what then stands there, between marks. The echo of what is
/// typed has a quote or a dollar between them.
const ZSH: &str = r#"
zmodload zsh/zpty || exit 3
zpty z zsh -f -i
zpty -w z "PS1= PS2= RPS1=; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; setopt no_beep
told() { print -r -- \"=<\$BUFFER>=\"; BUFFER= }; zle -N told; bindkey '^X' told; print '=<re''ady>='"
read_back() {
  local got= part
  REPLY=nothing
  repeat 1200; do
    zpty -r -t z part && got+=$part || sleep 0.05
    if [[ $got =~ '=<([^$>'\'']*)>=' ]]; then REPLY=$match[1]; return; fi
  done
}
read_back
shift
for line; do
  zpty -w -n z "$line"$'\t\x18'
  read_back
  print -r -- "$REPLY"
done
zpty -d z
"#;

/// bash's function for each line, as bash calls it.
const BASH: &str = r#"
. "$1"
shift
function=$(complete -p omnipilot | sed 's/.*-F \([^ ]*\).*/\1/')
for line; do
  COMP_WORDS=($line) COMP_LINE=$line COMP_POINT=${#line} COMPREPLY=()
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  "$function" omnipilot "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
  echo "${line% *} ${COMPREPLY[0]:-${line##* }}"
done
"#;

/// A folder with the completions, as `make install` has them made.
fn made(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).unwrap();
    let made = Command::new(artifacts::omnipilot().unwrap())
        .arg("generate")
        .arg(&folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    folder.join("completions")
}

/// What stands there after each of [`TYPED`].
fn completed(shell: &[&str], script: &str, completion: &Path) {
    let output = Command::new(shell[0])
        .args(&shell[1..])
        .args(["-c", script, shell[0]])
        .arg(completion)
        .args(TYPED.map(|(typed, _)| typed))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    // A shell may put a blank or an equals sign behind what is whole.
    let lines: Vec<&str> = told
        .lines()
        .map(|l| l.trim_end_matches([' ', '=']))
        .collect();
    assert_eq!(lines, TYPED.map(|(_, whole)| whole), "{output:?}");
}

#[test]
#[cfg_attr(not(e2e_zsh), ignore = "zsh is not installed")]
fn zsh_completes_verbs_and_options_when_they_are_typed() {
    let folder = made("completions-zsh").join("zsh");
    completed(&["zsh", "-f"], ZSH, &folder);
}

#[test]
fn bash_completes_the_same() {
    let file = made("completions-bash").join("bash/omnipilot");
    completed(&["bash", "--norc"], BASH, &file);
}
