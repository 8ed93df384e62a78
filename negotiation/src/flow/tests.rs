//! The flow step by step, then in a world that loses, repeats and reorders messages and whose hub
//! crashes anywhere.

mod recovery;
mod script;
mod world;
