//! Frames of 16 MiB from one process to another, without a copy: written where they are read.
//!
//! A camera is killed in the middle of a frame. Nobody sees half of it, its memory comes back, and another camera goes on.
//!
//! ```console
//! $ cargo run --release -p ipc-core --example loan
//! ```

#![expect(unsafe_code, reason = "a camera draws into the memory itself")]

use std::{
    env,
    process::{Child, Command},
};

use ipc_core::{Bytes, PutError, Queue};

type Frames = Queue<Bytes>;
type Failure = Box<dyn std::error::Error>;

/// Bytes of a frame.
const FRAME: usize = 16 << 20;
/// Frames that there is memory for: one being drawn, one on its way, one being looked at.
const LOANS: usize = 3;
/// Frames that the viewer takes of each camera.
const TAKEN: u8 = 4;

fn main() -> Result<(), Failure> {
    match env::args().nth(1) {
        Some(handle) => draw(&serde_json::from_str(&handle)?),
        None => view(),
    }
}

/// Draws frames until nobody wants them: each in one shade, the next one a little lighter.
fn draw(frames: &Frames) -> Result<(), Failure> {
    for shade in (0..=u8::MAX).cycle() {
        let mut frame = match frames.loan(FRAME) {
            Err(PutError::Closed(())) => return Ok(()),
            lent => lent?,
        };
        // SAFETY: whoever has the queue is this program, and none of it writes to a frame that another process was lent.
        unsafe { frame.as_mut_slice() }.fill(shade);
        match frame.put() {
            Err(PutError::Closed(())) => return Ok(()),
            put => put?,
        }
    }
    Ok(())
}

fn camera(frames: &Frames) -> Result<Child, Failure> {
    let handle = serde_json::to_string(frames)?;
    Ok(Command::new(env::current_exe()?).arg(handle).spawn()?)
}

fn view() -> Result<(), Failure> {
    let frames = Frames::options(LOANS).loans(LOANS, FRAME).anonymous()?;
    for name in ["first", "second"] {
        let mut camera = camera(&frames)?;
        for shade in 0..TAKEN {
            let frame = frames.get_ref()?;
            assert!(frame.is_in_place() && frame.len() == FRAME);
            let mut row = [0; 4096];
            for at in (0..FRAME).step_by(1 << 20) {
                frame.read_at(at, &mut row);
                assert_eq!(row, [shade; 4096], "a frame is whole");
            }
        }
        camera.kill()?; // SIGKILL, wherever it is: the next frame is half drawn, most likely
        camera.wait()?;
        while frames.try_get_ref().is_ok() {} // what it had finished
        println!("{name} camera: {TAKEN} frames, then killed");
    }
    frames.sweep()?;
    let all: Result<Vec<_>, _> = (0..LOANS).map(|_| frames.try_loan(FRAME)).collect();
    println!("memory for {} frames of 16 MiB is free", all?.len());
    Ok(())
}
