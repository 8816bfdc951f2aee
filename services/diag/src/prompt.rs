//! The prompt: lines are edited, commands run, their output is paged.

use crate::{
    session::{Input, Session},
    system::System,
};
use alloc::{
    format,
    string::{String, ToString},
};
use capnp::Error;
use core::convert::Infallible;
use diag::{
    command::parse,
    editor::{Editor, MAXIMUM_LINE, Outcome},
    keys::Key,
    pager::{MORE, Pager, Wish},
};
use schema::console_capnp::console;

const PROMPT: &str = "capos> ";

/// Clears the screen and goes to its first row. [ECMA-48 8.3.39, 8.3.21]
const CLEAR: &[u8] = b"\x1b[2J\x1b[H";

/// What to do with keys behind a loss.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// They are what was typed.
    Whole,
    /// They are the rest of a line whose beginning is not known.
    Broken,
}

/// The line, its history, and what the commands look at. It outlives sessions.
pub struct Prompt {
    system: System,
    editor: Editor,
    rows: usize,
    columns: usize,
}

impl Prompt {
    /// For a terminal of so many rows and columns.
    pub fn new(system: System, rows: usize, columns: usize) -> Self {
        Self { system, editor: Editor::default(), rows, columns }
    }

    /// Serves a session.
    ///
    /// Errors: those of the session, when it ends.
    pub async fn run(
        &mut self,
        session: &mut Session,
        console: &console::Client,
    ) -> Result<Infallible, Error> {
        // What was typed before the driver died may have lost its end.
        self.editor.clear();
        let mut trust = Trust::Whole;
        loop {
            if !session.has_more() {
                self.draw(session).await?;
            }
            let key = match session.next().await? {
                Input::Lost(bytes) => {
                    self.editor.clear();
                    trust = Trust::Broken;
                    let line =
                        format!("({bytes} bytes of input were lost; the rest of their line is ignored)");
                    session.write_lines([line]).await?;
                    continue;
                }
                Input::Key(key) => key,
            };
            if trust == Trust::Broken {
                if matches!(key, Key::Enter | Key::Cancel) {
                    trust = Trust::Whole;
                }
                continue;
            }
            if matches!(key, Key::Enter | Key::Cancel) {
                // With the cursor behind all of it, so that it stays as it was entered.
                self.editor.press(Key::End);
                self.draw(session).await?;
            }
            match self.editor.press(key) {
                Outcome::Edited => {}
                Outcome::Clear => session.write(CLEAR).await?,
                Outcome::Cancelled => session.end_line().await?,
                Outcome::TooLong => {
                    session.end_line().await?;
                    let line = format!("the line is longer than {MAXIMUM_LINE} characters and was ignored");
                    session.write_lines([line]).await?;
                }
                Outcome::Line(line) => {
                    session.end_line().await?;
                    self.enter(session, console, &line).await?;
                }
            }
        }
    }

    async fn draw(&self, session: &Session) -> Result<(), Error> {
        let (text, cursor) = self.editor.view(PROMPT, self.columns);
        session.set_line(&text, cursor).await
    }

    async fn enter(&self, session: &mut Session, console: &console::Client, line: &str) -> Result<(), Error> {
        match parse(line) {
            Ok(command) => {
                let output = self.system.run(command, console).await;
                self.page(session, Pager::new(output, self.rows, self.columns)).await
            }
            Err(problem) => session.write_lines([problem]).await,
        }
    }

    async fn page(&self, session: &mut Session, mut pager: Pager) -> Result<(), Error> {
        let mut wish = Wish::Screen;
        loop {
            session.write_lines(pager.take(wish)).await?;
            if pager.is_done() {
                return Ok(());
            }
            let more: String = MORE.to_string();
            session.set_line(&more, more.len()).await?;
            wish = loop {
                // What was lost may have been the wish to stop.
                let Input::Key(key) = session.next().await? else { break Wish::Stop };
                if let Some(wish) = Wish::of(key) {
                    break wish;
                }
            };
            session.set_line("", 0).await?;
            if wish == Wish::Stop {
                return Ok(());
            }
        }
    }
}
