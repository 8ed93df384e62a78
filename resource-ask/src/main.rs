//! resource-ask
fn main() {}
