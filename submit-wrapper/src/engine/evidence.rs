//! What of a line of the engine's log may stand in the outcome file, which others read: what the engines say themselves, and nothing that a
//! user, his command or his prompts may have put into it. Pure.
//!
//! Engines quote what they choke on: a mistyped option with its value, an address with a token, a prompt. What such a thing looks like
//! cannot be listed, so what is kept is: the text of the rule that decided, words that engines use of themselves, and numbers as long as
//! nothing was left out before them.

/// Longest text that is kept, characters.
const LONGEST: usize = 300;
/// Stands for what is left out.
const LEFT_OUT: &str = "\u{2026}";

/// Words of the engines' own messages, and of ours. Nothing is lost where one is missing but that word.
const WORDS: &str = "
a about above abort aborted accelerator access across activation actual add address after all allocate allocated allocation allowed
allowing already also although an and any api apiserver application are argument arguments as asked assertion assertionerror at
attention attributeerror available based batch batched be because been before being below bf16 bfloat16 bind bits block blocks both but
by bytes cache cached calculated call can cannot capability capacity cause change check checkpoint child cleanup close code command
compatible compile compiled compute compute_cap config configuration connection consider context controller core cores cpu cpus crash crashed
create created cublas cuda cudnn current currently dead decrease dedicated deep default derived desired detected device devices
did died differs dimension directory disable disabled divisible does down driver dtype due during each either embedding embeddings empty enable
enabled enforce engine enginecore enginedeaderror entry environment errno error errors estimated event exceeded exceeds exception executor
exhausted exist exists exit exited expected expert experts explicitly failed failure fatal few file find first fix flag float float16 float32 flashinfer flash fork
for format fp16 fp32 fp4 fp8 fragmentation free from fully get gib gb given global gpu gpus graph graphs greater group had has have head
heads hidden hip hint host if ignored implemented import in includes including incompatible increase increasing init initialization initialize initialized initializing
input inputs installed instead int int4 int8 interconnect internal interrupt invalid is issue it its key keyboardinterrupt kernel kernels killed kv larger layer layers least len
length less lets library limit limited load loaded loader loading local lost low main make manager many match maximum max may memory message method methods mib mb
min minimum missing mode model models modelopt module more moe most mpclient multiple must name native nccl need needed needs new no nobody node nodes none not note
notimplementederror nothing num numa number nvidia nvlink of on one only open operation option options or original os oserror other out output over own
page parallel parallelism parameter parameters parent parse part parts peer per permission pid pipe pipeline please pool port
position positions possible preemption prefill prefix preprocessing process processes processing processor profile prompt property
proc procs provided pytorch quantization quantized raise raised rank ranks rather ray reached read ready reason received reduce reduced release remaining remote
replica replicas request requested requests require required requires reserved reset resource resources response result retry return returned
root rope router run running runtime runtimeerror same scheduler section see segmentation seq seqs sequence sequences serve server
service set setting several shape shard shared should shut shutdown shutting signal simultaneously size sizes sleep slots small smaller smem socket some specified specify spawn
start started starting startup state status step stop stopped stopping still support supported swap system systemexit table takes target tensor
tensors than that the their them then there this though thread threads time timed timeout times to token tokenizer tokens too torch
total traceback tried triton trtllm true try trying type typeerror unable unavailable under unexpected unexpectedly unhandled unimplemented uninitialized
unknown unrecognized unsupported until unused up update upgrade use used user uses using utilization v1 valid value valueerror values variable
verify version vllm vllmworker vocab wait waiting was watchdog we weight weights were when where which while width will window with within without worker workers
workspace world would write wrong x you your zero
s ms h kib pytorch_cuda_alloc_conf expandable_segments gpu_memory_utilization max_model_len max_num_seqs max_num_batched_tokens
max_position_embeddings tensor_parallel_size pipeline_parallel_size model_max_length kv_cache_memory_bytes
";

/// Options of engines that a message may name. What stands behind another one is nobody's business.
const OPTIONS: &[&str] = &[
    "--cpu-offload-gb",
    "--dtype",
    "--enforce-eager",
    "--gpu-memory-utilization",
    "--kv-cache-dtype",
    "--kv-cache-memory-bytes",
    "--max-model-len",
    "--max-num-batched-tokens",
    "--max-num-seqs",
    "--mem-fraction-static",
    "--pipeline-parallel-size",
    "--quantization",
    "--tensor-parallel-size",
    "--tp-size",
    "--trust-remote-code",
];

/// A line as it may leave the job. `rules` are the texts that decide; the one that the line has is kept as it is.
pub(crate) fn masked(line: &str, rules: impl Iterator<Item = &'static str>) -> String {
    // Rules are in lower case, and small letters of ASCII take the place of the capitals.
    let lower = line.to_ascii_lowercase();
    let rule = rules.filter_map(|rule| Some((lower.find(&rule.to_ascii_lowercase())?, rule)));
    let mut mask = Mask::default();
    match rule.max_by_key(|(at, rule)| (rule.len(), std::cmp::Reverse(*at))) {
        Some((at, rule)) => {
            mask.add(&line[..at]);
            mask.keep(&line[at..at + rule.len()]);
            mask.add(&line[at + rule.len()..]);
        }
        None => mask.add(line),
    }
    mask.text.trim().chars().take(LONGEST).collect()
}

/// A model's name or an address without what an address may carry beside its place: a user with a password, a query.
pub(crate) fn plain_name(name: &str) -> String {
    let Some((scheme, rest)) = name.split_once("://") else {
        return name.to_owned();
    };
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let rest = &rest[..end];
    // As browsers read it: up to the last `@` before the path.
    let host = rest.find('/').unwrap_or(rest.len());
    let from = rest[..host].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[from..])
}

/// What was kept so far, and what is open.
#[derive(Default)]
struct Mask {
    text: String,
    /// The quotation mark that closes what was opened.
    quote: Option<char>,
    /// Something was left out: numbers behind it may belong to it.
    gap: bool,
    /// Arguments were named: nothing behind them is the engine's.
    over: bool,
    /// The character before.
    before: Option<char>,
}

impl Mask {
    fn keep(&mut self, text: &str) {
        if self.text.ends_with(LEFT_OUT) {
            self.text.push(' ');
        }
        self.text.push_str(text);
        self.before = text.chars().last();
        // `unrecognized arguments: --api-key x`
        self.over |= text.ends_with("arguments");
    }

    fn leave_out(&mut self) {
        self.gap = true;
        if !self.text.trim_end().ends_with(LEFT_OUT) {
            self.text.push_str(LEFT_OUT);
        }
    }

    fn add(&mut self, text: &str) {
        let mut word = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let next = chars.peek().copied();
            if let Some(end) = self.quote {
                let closes = c == end && !(c == '\'' && next.is_some_and(char::is_alphanumeric));
                if closes {
                    self.quote = None;
                }
            } else if let Some(end) = opens(self.before, c) {
                self.word(&std::mem::take(&mut word));
                self.quote = Some(end);
                self.leave_out();
            } else if c.is_whitespace() {
                self.word(&std::mem::take(&mut word));
                if !self.text.ends_with(' ') {
                    self.text.push(' ');
                }
            } else {
                word.push(c);
            }
            self.before = Some(c);
        }
        self.word(&word);
    }

    /// One word, with the punctuation around it.
    fn word(&mut self, word: &str) {
        if word.is_empty() {
            return;
        }
        let inner = |c: char| c.is_alphanumeric() || "-_%/$@&*=+~\\<>|".contains(c);
        let core = word.trim_matches(|c: char| !inner(c));
        match self.over {
            true => self.leave_out(),
            false if core.is_empty() => self.text.push_str(word),
            false if self.is_own(core) => {
                self.text.push_str(word);
                self.over = matches!(core, "argument" | "arguments") && word.ends_with(':');
            }
            false if core.starts_with('-') && core.len() > 1 => {
                self.leave_out();
                self.over = true;
            }
            false => self.leave_out(),
        }
    }

    /// Whether a word is the engine's own.
    fn is_own(&self, core: &str) -> bool {
        if core.starts_with('-') {
            return OPTIONS.contains(&core);
        }
        is_known(core)
            || is_error_name(core)
            || !self.gap && is_number(core)
            || core
                .split(['_', '-', '/', '.', '=', ':'])
                .all(|part| is_known(part) || !self.gap && is_number(part))
    }
}

/// The mark that closes what this character opens.
fn opens(before: Option<char>, c: char) -> Option<char> {
    // `model's` and `5'` open nothing.
    let inside = before.is_some_and(char::is_alphanumeric);
    match c {
        '\'' if inside => None,
        '\'' | '"' | '`' => Some(c),
        '\u{201c}' => Some('\u{201d}'),
        '\u{2018}' => Some('\u{2019}'),
        '\u{ab}' => Some('\u{bb}'),
        _ => None,
    }
}

fn is_known(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let lower = lower.strip_suffix("'s").unwrap_or(&lower); // the model's
    WORDS.split_ascii_whitespace().any(|known| known == lower)
}

/// `torch.OutOfMemoryError`, `HFValidationError`: letters, dots and `_` alone.
fn is_error_name(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphabetic() || "._".contains(c);
    word.len() <= 80
        && word.chars().all(plain)
        && ["Error", "Exception", "Interrupt"]
            .iter()
            .any(|end| word.ends_with(end))
}

/// `4194304`, `1,024`, `79.11`, `0.9%`: shorter than what is a number of a person's.
fn is_number(word: &str) -> bool {
    let word = word.trim_end_matches(['%', 'x']);
    let digits = word.chars().filter(char::is_ascii_digit).count();
    (1..=8).contains(&digits) && word.chars().all(|c| c.is_ascii_digit() || ".,".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(line: &str) -> String {
        masked(line, super::super::log::rules())
    }

    #[test]
    fn what_a_user_typed_or_asked_is_left_out() {
        for (line, kept) in [
            (
                "vllm serve: error: unrecognized arguments: --api-kye sk-SECRET-0123456789",
                "vllm serve: error: unrecognized arguments\u{2026}",
            ),
            (
                "Error in preprocessing prompt inputs: 'Patient John Doe, HIV positive, SSN 078-05-1120'",
                "Error in preprocessing prompt inputs: \u{2026}",
            ),
            (
                "ValueError: Cannot find any model weights with https://user:hf_SECRETTOKEN@huggingface.co/x",
                "ValueError: Cannot find any model weights with \u{2026}",
            ),
            (
                "ERROR Patient John Doe, born 12 4 1950, is out of memory",
                "ERROR \u{2026} is out of memory",
            ),
            (
                "error: argument --api-key: expected one argument, got hunter2",
                "error: argument \u{2026} expected one argument\u{2026}",
            ),
            (
                "RuntimeError: invalid value \"the model has no memory\" in request",
                "RuntimeError: invalid value \u{2026} in request",
            ),
            ("Error: unclosed 'the model cannot", "Error: \u{2026}"),
            (
                "TypeError: got HF_TOKEN=hf_abc and key=12345678",
                "TypeError: \u{2026} and \u{2026}",
            ),
        ] {
            assert_eq!(of(line), kept, "{line}");
        }
    }

    #[test]
    fn what_an_engine_says_of_itself_is_kept() {
        for line in [
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.11 GiB",
            "Total number of attention heads (4) must be divisible by tensor parallel size (3).",
            "OSError: [Errno 98] Address already in use",
            "stopped before it was ready, 1900 s after its start",
            "exit status 0, though nobody asked it to stop",
            "killed by signal 9",
            "not ready after 600 s",
        ] {
            assert_eq!(of(line), line);
        }
        // The text of a rule, where it stands in quotes of somebody's.
        let told = of(
            "RuntimeError: Worker failed with error 'Available memory on node 0 (7.59/11.34 GiB) on kv cache allocation is less than requested memory for kv (100.0 GiB). Decrease'",
        );
        assert_eq!(
            told,
            "RuntimeError: Worker failed with error \u{2026} is less than requested memory for kv"
        );
    }

    #[test]
    fn every_rule_can_be_read_in_what_is_kept() {
        for rule in super::super::log::rules() {
            for line in [
                rule.to_owned(),
                format!("x /home/a/b: 'secret {rule} --key=1'"),
            ] {
                let told = of(&line);
                assert!(told.contains(rule), "{rule}: {told}");
                assert!(!told.contains("secret") && !told.contains("key"), "{told}");
            }
        }
    }

    #[test]
    fn an_address_keeps_its_place_alone() {
        for (name, kept) in [
            ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
            ("https://user:pw@host/a/b", "https://host/a/b"),
            ("https://a@b:p@ss@host/x?token=1#y", "https://host/x"),
            ("s3://bucket/m@v2", "s3://bucket/m@v2"),
            ("https://host?k=1", "https://host"),
        ] {
            assert_eq!(plain_name(name), kept);
        }
    }

    proptest! {
        #[test]
        fn a_secret_leaves_in_no_company(
            before in "[ -~]{0,60}", after in "[ -~]{0,60}", quote in "['\"`]?", glue in "[ =:]"
        ) {
            let line = format!("{before}{glue}{quote}sk-S3cr3tT0k3n{quote} {after}");
            let told = of(&line);
            prop_assert!(!told.contains("S3cr3t"), "{line} -> {told}");
        }

        #[test]
        fn any_line_is_short_and_on_one_line(line in any::<String>()) {
            let told = of(&line);
            prop_assert!(told.chars().count() <= LONGEST + 1);
        }
    }
}
