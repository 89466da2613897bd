//! Random bytes of the kernel's.

use std::fs::File;
use std::io::Read;

use crate::error::Error;

/// As many as are asked for.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| Error::io("read /dev/urandom", error))?;
    Ok(bytes)
}
