//! Scaling rules and step plans.
