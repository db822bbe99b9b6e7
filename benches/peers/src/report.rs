//! The rows, as one table for people and as JSON for programs.

use serde::Serialize;

use crate::apps::Peer;

#[derive(Serialize)]
pub struct Report {
    /// Whether the rounds were many (`--long`).
    pub long: bool,
    pub cores: usize,
    pub rows: Vec<Row>,
}

/// One line of the table.
#[derive(Serialize)]
pub struct Row {
    pub name: String,
    pub unit: &'static str,
    pub cells: Vec<Cell>,
    /// Ours as a part of tower-sessions'.
    pub ratio: Option<f64>,
    /// The best that ours is asked to be.
    pub target: Target,
}

/// What one peer does. Of costs per request what is above plain axum, beside the whole.
#[derive(Serialize)]
pub struct Cell {
    pub peer: Peer,
    pub value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocations: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated_bytes: Option<f64>,
}

#[derive(Clone, Copy, Default, Serialize)]
pub struct Target {
    /// Of what tower-sessions does: at most, or of a rate at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocations: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

impl Target {
    pub const NONE: Self = Self { ratio: None, allocations: None, value: None };

    pub const fn ratio(ratio: f64) -> Self {
        Self { ratio: Some(ratio), ..Self::NONE }
    }

    pub const fn value(value: f64) -> Self {
        Self { value: Some(value), ..Self::NONE }
    }

    pub const fn and_allocations(self, allocations: f64) -> Self {
        Self { allocations: Some(allocations), ..self }
    }
}

impl Cell {
    pub fn of(peer: Peer, value: f64) -> Self {
        Self { peer, value, whole: None, allocations: None, allocated_bytes: None }
    }
}

impl Row {
    pub fn new(name: impl Into<String>, unit: &'static str, target: Target, cells: Vec<Cell>) -> Self {
        let mut row = Self { name: name.into(), unit, cells, ratio: None, target };
        let value = |peer| row.cell(peer).map(|cell| cell.value);
        row.ratio = value(Peer::Ours).zip(value(Peer::TowerSessions)).map(|(ours, theirs)| ours / theirs);
        row.ratio = row.ratio.filter(|ratio| ratio.is_finite());
        row
    }

    fn cell(&self, peer: Peer) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.peer == peer)
    }

    fn line(&self) -> Vec<String> {
        let cell = |peer| {
            self.cell(peer).map_or_else(
                || "-".into(),
                |cell| {
                    let value = number(cell.value);
                    cell.allocations.map_or(value.clone(), |count| format!("{value} / {count:.0}"))
                },
            )
        };
        let wanted = [
            self.target.ratio.map(|ratio| format!("{ratio}x")),
            self.target.value.map(number),
            self.target.allocations.map(|count| format!("/ {count}")),
        ];
        let mut line = vec![self.name.clone(), self.unit.into()];
        line.extend(Peer::ALL.map(cell));
        line.push(self.ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}x")));
        line.push(wanted.into_iter().flatten().collect::<Vec<_>>().join(" "));
        line
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        big if big >= 100_000.0 => format!("{:.0}k", value / 1000.0),
        small if small < 10.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

impl Report {
    pub fn table(&self) -> String {
        let mut head = vec!["".to_owned(), "unit".into()];
        head.extend(Peer::ALL.map(|peer| peer.name().to_owned()));
        head.extend(["ratio".into(), "target".into()]);
        let lines: Vec<_> = std::iter::once(head).chain(self.rows.iter().map(Row::line)).collect();
        let widths: Vec<_> = (0..4 + Peer::ALL.len())
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
            .collect();
        let mut table = String::new();
        for (i, line) in lines.iter().enumerate() {
            let cells: Vec<_> = line
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (text, &width))| match column {
                    0 | 1 => format!("{text:<width$}"),
                    _ => format!("{text:>width$}"),
                })
                .collect();
            table.push_str(&format!("| {} |\n", cells.join(" | ")));
            if i == 0 {
                let rule: Vec<_> = widths
                    .iter()
                    .enumerate()
                    .map(
                        |(column, &width)| {
                            if column < 2 { "-".repeat(width) } else { "-".repeat(width - 1) + ":" }
                        },
                    )
                    .collect();
                table.push_str(&format!("| {} |\n", rule.join(" | ")));
            }
        }
        table
    }
}

/// The middle of what was measured.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
