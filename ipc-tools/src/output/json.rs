//! JSON on standard output.

use serde::Serialize;

use crate::exit::{Failure, Outcome};

/// Version of all that `--json` prints. Fields may be added to it; a change of what one means makes it 2.
pub(crate) const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Document<'a, T> {
    schema: u32,
    #[serde(flatten)]
    data: &'a T,
}

/// Prints `data`, which is a struct or a map, as one document with the schema's version.
pub(crate) fn print(data: &impl Serialize) -> Outcome {
    let mut text = serde_json::to_string_pretty(&Document {
        schema: SCHEMA,
        data,
    })
    .map_err(|e| Failure::Other(format!("could not make JSON: {e}")))?;
    text.push('\n');
    super::print(text.as_bytes())
}
