//! mcpserver
fn main() {}
