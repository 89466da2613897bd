//! Files of `--env-file`: a line for each variable, as Docker reads them.

use std::path::Path;

use cni::file;

use crate::endpoint::Variable;
use crate::environment::variable_of_option;
use crate::error::Error;

/// The variables of a file. Empty lines and those that begin with `#` say nothing; a name alone has the value that it has here, and
/// quotes belong to the value.
pub(crate) fn read(path: &Path) -> Result<Vec<Variable>, Error> {
    let doing = || format!("read variables from {}", path.display());
    let bytes = file::read(path, file::LONGEST).map_err(|error| Error::io(doing(), error))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::refused(doing(), "it is no UTF-8 text", "save it as UTF-8"))?;
    let mut all = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |reason| {
            Error::refused(format!("{}: line {}", doing(), number + 1), reason, "write it as KEY=VALUE")
        };
        let key = line.split('=').next().unwrap_or_default();
        if key.contains(char::is_whitespace) {
            return Err(wrong("a name has no spaces"));
        }
        let variable = variable_of_option(line).map_err(wrong)?;
        let text =
            |part: std::ffi::OsString| part.into_string().map_err(|_| wrong("its value is no UTF-8 text"));
        if let Some((key, value)) = variable {
            all.push(Variable { key: text(key)?, value: text(value)? });
        }
    }
    Ok(all)
}
