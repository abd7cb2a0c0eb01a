//! The grammar of Clearwater's log lines.
