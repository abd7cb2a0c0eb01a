//! Where things stand in the images' file systems, as upstream chose it. Shell texts that run in a container are given
//! these as arguments.

macro_rules! supervisor {
    ($file:literal) => {
        concat!("/var/log/supervisor", $file)
    };
}

/// What somebody sets by hand: read after every other file.
pub(crate) const USER_SETTINGS: &str = "/etc/clearwater/user_settings";

/// What a container's programs are configured by, each read after the one before it
/// (clearwater-infrastructure `clearwater-auto-config/etc/clearwater/config`).
pub const SETTINGS_FILES: [&str; 3] = ["/etc/clearwater/shared_config", "/etc/clearwater/local_config", USER_SETTINGS];

/// Cassandra's own settings, which the cluster manager writes when a member joins.
pub const CASSANDRA_SETTINGS: &str = "/etc/cassandra/cassandra.yaml";

/// The members of astaire's cluster, which the cluster manager writes when a member joins.
pub(crate) const CLUSTER_SETTINGS: &str = "/etc/clearwater/cluster_settings";

/// What puts numbers into Ellis' pool says here how far it came (clearwater-docker `ellis/create_numbers.sh`).
pub const NUMBERS_LOG: &str = "/var/log/create_numbers.log";

/// Where supervisord is asked by XML-RPC (clearwater-docker `base/supervisord.conf`).
pub const SUPERVISOR_SOCKET: &str = "/var/run/supervisor.sock";

/// What starts the programs of `clearwater-group` at the end of the boot chain, found by its name alone
/// (clearwater-docker `base/clearwater-infrastructure.supervisord.conf`; Ubuntu's package supervisor).
pub(crate) const SUPERVISORCTL: &str = "/usr/bin/supervisorctl";

/// Where supervisord writes its own log and what its programs print (clearwater-docker `base/Dockerfile`).
pub const SUPERVISOR_LOGS: &str = supervisor!("");

/// What supervisord's programs print, as a pattern of files.
pub const PROGRAM_LOGS: &str = supervisor!("/*-std*.log");
