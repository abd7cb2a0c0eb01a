//! The ordering graph: what starting and what working needs, as data.
