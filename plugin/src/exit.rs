//! Exit codes. They are part of the interface: scripts branch on them.

/// It worked. Also where a reader of the output went away: a broken pipe is success.
pub const OK: u8 = 0;
/// It failed, or could not look, also because the time was up before the first write; or what is to be worked on is not there.
pub const FAILURE: u8 = 1;
/// The command line or the deployment file is wrong; nothing was done.
pub const USAGE: u8 = 2;
/// The time was up after the first write, or not all was ready by then.
pub const NOT_READY: u8 = 3;
/// Failed early: waiting longer could not help.
pub const FAILED_EARLY: u8 = 4;
/// Looked, and it is unhealthy.
pub const UNHEALTHY: u8 = 5;
/// Refused: for safety, by the user's "no", or because there is no terminal to ask on and no `--yes`.
pub const REFUSED: u8 = 6;
/// Changes are pending.
pub const PENDING: u8 = 7;
/// Tests failed.
pub const TESTS_FAILED: u8 = 8;
/// Ended by SIGINT.
pub const INTERRUPTED: u8 = 130;
/// Ended by SIGTERM.
pub const TERMINATED: u8 = 143;

/// Of what only looked: something is unwell; nothing that was seen is, and not everything could be seen; all is well.
pub(crate) const fn of_look(is_well: bool, is_whole: bool) -> u8 {
    match (is_well, is_whole) {
        (false, _) => UNHEALTHY,
        (true, false) => FAILURE,
        (true, true) => OK,
    }
}
