//! Where things stand in the images' file systems, as upstream chose it. Shell texts that run in a container have these
//! paths in them as they are.

macro_rules! settings {
    ($file:literal) => {
        concat!("/etc/clearwater", $file)
    };
}

macro_rules! supervisor {
    ($file:literal) => {
        concat!("/var/log/supervisor", $file)
    };
}

/// The directory of `shared_config`, `local_config` and `user_settings`
/// (clearwater-infrastructure `clearwater-auto-config/etc/clearwater/config`).
pub const SETTINGS_DIRECTORY: &str = settings!("");

/// What somebody sets by hand: read after every other file.
pub(crate) const USER_SETTINGS: &str = settings!("/user_settings");

/// Where supervisord writes its own log and what its programs print (clearwater-docker `base/Dockerfile`).
pub(crate) const SUPERVISOR_LOGS: &str = supervisor!("");

/// What supervisord's programs print, as a pattern of files.
pub const PROGRAM_LOGS: &str = supervisor!("/*-std*.log");
