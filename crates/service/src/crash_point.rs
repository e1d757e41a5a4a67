//! Places between two steps at which a test can end the process, as a power cut would.
//!
//! In: the name of the step just finished; from the environment, in builds for tests, which of them
//! kills. Out: nothing, or the end. Must never happen: a point that does anything in a build for use.
//! There `fail` is built without its feature `failpoints`, every point is empty and `FAILPOINTS` is not
//! even read. Only a dev-dependency of the binary's own crate switches the feature on.
//!
//! So the binary that `cargo test` or `cargo bench` leaves in the target folder is not one for use; there
//! a point that is not asked for costs a look into an empty map.

use rustix::process::{Signal, getpid, kill_process};

/// Reads, in a build for tests, which points kill: `FAILPOINTS=publish.acknowledged=2*off->return` is
/// the third time that this one is passed. Call it once, first.
///
/// Panics if `FAILPOINTS` is none: a test that kills nowhere would prove nothing.
pub fn arm() {
    if fail::has_failpoints() {
        // Dropping it would switch the points off again.
        std::mem::forget(fail::FailScenario::setup());
    }
}

/// Ends the process here if the test says so: by SIGKILL to itself, so that nothing is flushed, dropped
/// or told. `name` is the step just finished, and stands at one place in the code.
pub fn crash_point(name: &'static str) {
    if is_asked_for(name) {
        tracing::error!(point = name, "a crash point ends the process");
        // It has no effect only where the process is gone already.
        kill_process(getpid(), Signal::KILL).ok();
        std::process::abort();
    }
}

fn is_asked_for(name: &str) -> bool {
    fail::fail_point!(name, |_| true);
    // Without the feature the line above is empty.
    let _ = name;
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_that_nobody_asked_for_is_passed() {
        arm();
        crash_point("service.test");
        assert!(!is_asked_for("service.test"));
    }
}
