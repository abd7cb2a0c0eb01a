//! What several commands take: which deployment file is meant, and names of the model's enums.

mod file;
mod named_file;
mod one_of;

pub(crate) use file::{FileArgs, PlaceArgs, USUAL, set};
pub(crate) use named_file::NamedFile;
pub(crate) use one_of::one_of;
