//! `ipc dict dump`.

use super::Opened;
use crate::{
    args::{Place, dict::Dump},
    exit::Outcome,
    output::stream::Stream,
};

pub(super) fn run(place: &Place, args: &Dump) -> Outcome {
    let opened = Opened::new(place, &args.name)?;
    let mut pairs = opened.patiently(|dict| dict.snapshot())?;
    pairs.sort_by(|(a, _), (b, _)| a.order(b));
    let mut stream = Stream::new(&opened.signals)?;
    for (key, value) in pairs {
        stream.add(|out| {
            out.push(b'{');
            out.extend_from_slice(key.key_json().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.json().as_bytes());
            out.extend_from_slice(b"}\n");
        })?;
    }
    stream.flush()
}
