//! `artifacts` and `fetch`: what jobs produced, and the bytes of it, verified.

use std::io::{self, Write};
use std::path::Path;

use protocol::artifact::Artifact;
use protocol::ids::{ArtifactId, JobId};
use serde_json::{Value, json};

use crate::console::Console;
use crate::download;
use crate::failure::{Exit, Failure};
use crate::hub::{Answer, Hub, Items};
use crate::output::{Document, Format};
use crate::render::{Screen, job};

/// Lists artifacts, of one job or of all.
pub async fn list(console: &Console, hub: &Hub, of: Option<&JobId>) -> Result<Exit, Failure> {
    let arguments = of.map_or_else(|| json!({}), |job| json!({"job_id": job}));
    console.print(&Artifacts(&hub.get::<Items<Artifact>>("list_artifacts", arguments).await?))?;
    Ok(Exit::Done)
}

/// Downloads an artifact to a file, or to standard output for `-`. The file appears only when every byte
/// of it is there and the digest fits.
pub async fn fetch(console: &Console, hub: &Hub, id: &ArtifactId, output: &Path) -> Result<Exit, Failure> {
    let answer = hub.get::<Artifact>("get_artifact", json!({"artifact_id": id})).await?;
    if output == Path::new("-") {
        let bytes = download::to_memory(hub, &answer.value).await?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&bytes)?;
        stdout.flush()?;
        return Ok(Exit::Done);
    }
    download::to_file(hub, &answer.value, output).await?;
    match console.format {
        Format::Table => console.note(&format!("{}: {} verified", output.display(), answer.value.digest)),
        Format::Json | Format::Quiet => console.print(&Fetched { answer: &answer, output })?,
    }
    Ok(Exit::Done)
}

struct Artifacts<'a>(&'a Answer<Items<Artifact>>);

impl Document for Artifacts<'_> {
    fn table(&self, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
        job::write_artifacts(out, screen, &self.0.value.items)
    }

    fn json(&self) -> Value {
        self.0.raw["items"].clone()
    }

    fn quiet(&self, out: &mut dyn Write) -> io::Result<()> {
        self.0.value.items.iter().try_for_each(|artifact| writeln!(out, "{}", artifact.artifact_id))
    }
}

struct Fetched<'a> {
    answer: &'a Answer<Artifact>,
    output: &'a Path,
}

impl Document for Fetched<'_> {
    fn table(&self, _: &Screen, out: &mut dyn Write) -> io::Result<()> {
        self.quiet(out)
    }

    fn json(&self) -> Value {
        let mut document = self.answer.raw.clone();
        if let Some(fields) = document.as_object_mut() {
            fields.insert("path".to_owned(), json!(self.output));
        }
        document
    }

    fn quiet(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.output.display())
    }
}
