//! How the binary's heap is set.

use std::process::Command;

/// What jemalloc says of itself at the end of a process.
const SAY: (&str, &str) = ("_RJEM_MALLOC_CONF", "stats_print:true");

#[test]
fn it_has_few_arenas_and_gives_back_soon_on_any_number_of_cores() {
    let mut version = Command::new(env!("CARGO_BIN_EXE_syncbell"));
    let output = version.arg("--version").env(SAY.0, SAY.1).output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    for line in [
        "opt.narenas: 1\n",
        "opt.dirty_decay_ms: 200",
        "opt.tcache_max: 4096\n",
    ] {
        assert!(said.contains(line), "`{line}` is missing, of {said}");
    }
}
