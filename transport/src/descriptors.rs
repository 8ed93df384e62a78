//! How many sockets the process may hold.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard one and returns it: a hub with a thousand workers
/// needs more sockets than the usual soft limit of 1,024 gives.
pub fn raise_limit() -> std::io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_limit_is_raised_and_stays() {
        let first = super::raise_limit().unwrap();
        assert_eq!(super::raise_limit().unwrap(), first);
    }
}
