//! `rocm-smi`, for what the AMD driver's files leave open: it has a data base of products' names. Without
//! hardware it ends with 0 and prints a sentence where JSON was asked for.

use std::collections::BTreeMap;

use async_trait::async_trait;
use protocol::ids::Digest;
use protocol::units::GiB;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{GpuReading, reading, short_model};
use crate::provider::{Answer, ProviderError};
use crate::real::host::{Host, gib};
use crate::real::listing::{Listed, Lister, Listing};

/// Eight GPUs with all their values are about 8 KiB.
const OUTPUT_LIMIT: usize = 256 * 1024;
const ARGUMENTS: [&str; 4] = ["--showproductname", "--showmeminfo", "vram", "--json"];

/// What `rocm-smi` told of one card.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Card {
    /// The product's name.
    pub product: Option<String>,
    /// Memory.
    pub memory_gib: Option<GiB>,
    /// Memory that is not allocated.
    pub memory_free_gib: Option<GiB>,
}

/// A value by its name in any spelling: releases differ in capitals (`Card series`, `Card Series`).
fn field<'a>(card: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let (_, value) = card.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    value.as_str().map(str::trim).filter(|text| !text.is_empty() && !text.eq_ignore_ascii_case("N/A"))
}

/// Reads what `rocm-smi --json` prints, by the name of the card (`card0`).
pub fn parse(output: &[u8]) -> Result<BTreeMap<String, Card>, ProviderError> {
    // It may say something about its environment in front of the document.
    let start = output.iter().position(|byte| *byte == b'{').unwrap_or(0);
    let document: Map<String, Value> = serde_json::from_slice(&output[start..]).map_err(|error| {
        ProviderError::NotUnderstood { what: "rocm-smi --json".to_owned(), problem: error.to_string() }
    })?;
    let cards = document.iter().filter_map(|(name, value)| {
        name.strip_prefix("card")?.parse::<u32>().ok()?;
        let card = value.as_object()?;
        // A number that is only a number is the board's, not the product's.
        let names = ["Card series", "Card model"].into_iter().filter_map(|key| field(card, key));
        let product = names.into_iter().find(|text| !text.starts_with("0x")).map(str::to_owned);
        let bytes = |key: &str| field(card, key).and_then(|text| text.parse::<u64>().ok());
        let total = bytes("VRAM Total Memory (B)").filter(|total| *total > 0);
        let used = bytes("VRAM Total Used Memory (B)");
        let free = total.zip(used).and_then(|(total, used)| total.checked_sub(used));
        Some((name.clone(), Card { product, memory_gib: total.map(gib), memory_free_gib: free.map(gib) }))
    });
    Ok(cards.collect())
}

/// Asks `rocm-smi`, which takes about a second to answer.
pub struct RocmSmi {
    host: Host,
}

impl RocmSmi {
    /// On a machine.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self { host }
    }
}

#[async_trait]
impl Lister for RocmSmi {
    type List = BTreeMap<String, Card>;

    fn what(&self) -> &'static str {
        "rocm-smi"
    }

    async fn list(&self, deadline: Instant) -> Result<Listed<Self::List>, ProviderError> {
        let found = self.host.find(&["rocm-smi"], deadline).await?;
        let (_, program) = found.ok_or_else(|| ProviderError::not_found("rocm-smi"))?;
        let output = self.host.run(&program, &ARGUMENTS, OUTPUT_LIMIT, deadline).await?;
        if !output.success {
            return Err(output.failure("rocm-smi"));
        }
        Ok(Listed::new(parse(&output.stdout)?, "rocm-smi", &output.stdout))
    }
}

/// Fills what the files left open. Cards are told apart by their order; where the numbers of cards
/// differ, nobody knows which is which, and nothing is filled.
fn fill(reading: &mut GpuReading, cards: &BTreeMap<String, Card>) {
    let mut cards: Vec<(u32, &Card)> = cards
        .iter()
        .filter_map(|(name, card)| Some((name.strip_prefix("card")?.parse().ok()?, card)))
        .collect();
    cards.sort_by_key(|(number, _)| *number);
    if cards.len() != reading.gpus.len() {
        return;
    }
    for (gpu, (_, card)) in reading.gpus.iter_mut().zip(cards) {
        gpu.product = gpu.product.take().or_else(|| card.product.clone());
        gpu.model = gpu.product.as_deref().and_then(short_model);
        if gpu.memory_gib.is_none() {
            (gpu.memory_gib, gpu.memory_free_gib) = (card.memory_gib, card.memory_free_gib);
        }
    }
}

/// Completes what the files told, when they left something open and the program is here.
pub async fn complete(cards: &Listing<RocmSmi>, mut files: Answer, deadline: Instant) -> Answer {
    let Ok(mut known) = reading(&files) else { return files };
    if known.gpus.iter().all(|gpu| gpu.product.is_some() && gpu.memory_gib.is_some()) {
        return files;
    }
    match cards.get(deadline).await {
        Ok(kept) => {
            fill(&mut known, kept.value());
            let told = kept.answer(json!(known));
            let digest = Digest::of(format!("{}\n{}", files.digest, told.digest).as_bytes());
            Answer { source: format!("{}, {}", files.source, told.source), digest, ..told }
        }
        Err(error) => {
            files.problems.push(error.in_full());
            files
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::real::gpu::Gpu;

    fn card(product: &str) -> Card {
        Card { product: Some(product.to_owned()), memory_gib: Some(GiB::from(64)), ..Card::default() }
    }

    #[test]
    fn names_are_filled_in_the_order_of_numbers() {
        let mut reading = GpuReading { gpus: vec![Gpu::default(), Gpu::default()], ..GpuReading::default() };
        let cards = [("card10", card("AMD Instinct MI300X")), ("card2", card("AMD Instinct MI250X"))];
        let cards = cards.into_iter().map(|(name, card)| (name.to_owned(), card)).collect();
        fill(&mut reading, &cards);
        let models: Vec<_> = reading.gpus.iter().map(|gpu| gpu.model.as_deref()).collect();
        assert_eq!(models, [Some("mi250x"), Some("mi300x")]);
    }

    #[test]
    fn other_numbers_of_cards_fill_nothing() {
        let mut reading = GpuReading { gpus: vec![Gpu::default()], ..GpuReading::default() };
        fill(&mut reading, &BTreeMap::new());
        assert_eq!(reading.gpus[0], Gpu::default());
    }
}
