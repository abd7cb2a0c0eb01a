//! What happens during a run, as types that a program can read without a cluster client.
