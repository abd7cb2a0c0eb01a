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

/// What Cassandra is configured by. What the cluster manager keeps here of a member: that it has joined, or is about to
/// (clearwater-etcd-plugins `clearwater_cassandra/cassandra_plugin.py`).
pub(crate) const CASSANDRA_FOLDER: &str = "/etc/cassandra";

/// The files in [`CASSANDRA_FOLDER`] that are a member's and not its image's. Without both of the last two a member that
/// joins is taken for a new one, and its data are removed (same file, `write_new_cassandra_config`).
pub(crate) const OF_CASSANDRA_MEMBER: [&str; 4] =
    ["cassandra.yaml", "cassandra-rackdc.properties", "cassandra_bootstrap_in_progress", "cassandra_bootstrapped"];

/// Where Cassandra keeps its rows and its log (clearwater-cassandra `cassandra.yaml.template`).
pub const CASSANDRA_DATA: &str = "/var/lib/cassandra";

/// Where Ellis' MySQL keeps its tables. The image brings them along, with Ellis' own, which are made when it is built, and
/// with its user, who is `root` and has no password (ellis `debian/ellis.postinst`, `src/metaswitch/ellis/settings.py`).
pub const MYSQL_DATA: &str = "/var/lib/mysql";

/// Cassandra's own settings, which the cluster manager writes when a member joins.
pub const CASSANDRA_SETTINGS: &str = "/etc/cassandra/cassandra.yaml";

/// What chronos is configured by, which the generator makes of its sample (chronos `src/globals.cpp`).
pub const CHRONOS_SETTINGS: &str = "/etc/chronos/chronos.conf";

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
