//! Plots as SVG: bars that are stacked, and lines. Text stands beside them as HTML, so that a plot may be stretched.

use maud::{Markup, html};

use super::words::number;

/// What is drawn in one colour.
pub(super) struct Series {
    pub(super) name: &'static str,
    /// One of the classes `c1` to `c4` of the style sheet.
    pub(super) class: &'static str,
    pub(super) values: Vec<f64>,
    /// What the legend says of all of it.
    pub(super) total: String,
}

impl Series {
    pub(super) fn counts(name: &'static str, class: &'static str, values: Vec<u32>) -> Self {
        let total = number(values.iter().copied().map(u64::from).sum());
        Self { name, class, values: values.into_iter().map(f64::from).collect(), total }
    }
}

/// The height of a plot, in units of its own.
const HEIGHT: f64 = 100.0;

/// Steps one upon the other, each as wide as the others.
pub(super) fn bars(title: &str, span: &str, series: &[Series]) -> Markup {
    let steps = series.first().map_or(0, |s| s.values.len());
    let sum = |step: usize| series.iter().map(|s| s.values[step]).sum::<f64>();
    let top = nice((0..steps).map(sum).fold(0.0, f64::max));
    let drawn = (0..steps).filter(|step| sum(*step) > 0.0).map(|step| {
        let mut below = 0.0;
        let parts: Vec<_> = series
            .iter()
            .filter(|s| s.values[step] > 0.0)
            .map(|s| {
                let height = s.values[step] / top * HEIGHT;
                below += height;
                (s.class, HEIGHT - below, height)
            })
            .collect();
        (step, parts)
    });
    let drawing = html! {
        @for (step, parts) in drawn {
            @for (class, y, height) in parts {
                rect class=(class) x=(format!("{:.2}", step as f64 + 0.08)) width="0.84"
                    y=(format!("{y:.2}")) height=(format!("{height:.2}")) {}
            }
        }
    };
    frame(title, span, series, steps, &number(top as u64), &drawing)
}

/// A line for each, with gaps where there is nothing to tell. The scale is that of logarithms, from `lowest` on: a
/// hiccup of a second must not flatten the rest.
pub(super) fn lines(
    title: &str,
    span: &str,
    series: &[Series],
    lowest: f64,
    label: impl Fn(f64) -> String,
) -> Markup {
    let steps = series.first().map_or(0, |s| s.values.len());
    let most = series.iter().flat_map(|s| &s.values).copied().fold(0.0, f64::max);
    // Whole decades, one at least.
    let top = lowest * 10_f64.powf((most / lowest).max(10.0).log10().ceil());
    let y = |value: f64| HEIGHT - ((value / lowest).log10() / (top / lowest).log10()).max(0.0) * HEIGHT;
    let drawing = html! {
        @for s in series {
            path class={"line " (s.class)} d=(path(&s.values, y)) {}
        }
    };
    frame(title, span, series, steps, &format!("{} – {}", label(lowest), label(top)), &drawing)
}

/// From point to point, anew after each gap; a point alone is a line as wide as its step.
fn path(values: &[f64], y: impl Fn(f64) -> f64) -> String {
    use std::fmt::Write;
    let mut d = String::new();
    let mut pen_down = false;
    for (step, value) in values.iter().enumerate() {
        if *value > 0.0 {
            let command = if pen_down { 'L' } else { 'M' };
            // Writing to a string cannot fail.
            let _ = write!(d, "{command}{:.2} {:.2}H{:.2}", step as f64 + 0.2, y(*value), step as f64 + 0.8);
        }
        pen_down = *value > 0.0;
    }
    d
}

fn frame(title: &str, span: &str, series: &[Series], steps: usize, top: &str, drawing: &Markup) -> Markup {
    let said: Vec<_> = series.iter().map(|s| format!("{}: {}", s.name, s.total)).collect();
    let said = format!("{title}, the last {span}. {}.", said.join(", "));
    html! {
        figure.card.plot {
            figcaption { h2 { (title) } span.top title="the scale of the plot" { (top) } }
            svg role="img" aria-label=(said) viewBox=(format!("0 0 {} {HEIGHT}", steps.max(1))) preserveAspectRatio="none" {
                @for line in [0, 50, 100] {
                    line.grid x1="0" x2=(steps) y1=(line) y2=(line) {}
                }
                (drawing)
            }
            div.axis { span { (span) " ago" } span { "now" } }
            ul.legend {
                @for s in series {
                    li { i class=(s.class) aria-hidden="true" {} (s.name) " " b { (s.total) } }
                }
            }
        }
    }
}

/// The next round number: 1 to 6, 8, 10, 20...
fn nice(most: f64) -> f64 {
    let scale = 10_f64.powf(most.max(1.0).log10().floor());
    let steps = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * scale).find(|top| *top >= most).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_a_plot_is_a_round_number() {
        assert_eq!(
            [0.0, 1.0, 2.0, 3.0, 7.0, 11.0, 99.0, 101.0].map(nice),
            [1.0, 1.0, 2.0, 3.0, 8.0, 20.0, 100.0, 200.0]
        );
    }

    #[test]
    fn bars_stand_upon_each_other() {
        let series = [Series::counts("begun", "c1", vec![0, 1]), Series::counts("ended", "c2", vec![0, 4])];
        let text = bars("Sessions", "10 min", &series).into_string();
        assert!(text.contains(r#"class="c1" x="1.08" width="0.84" y="80.00" height="20.00""#), "{text}");
        assert!(text.contains(r#"class="c2" x="1.08" width="0.84" y="0.00" height="80.00""#), "{text}");
        assert!(text.contains("Sessions, the last 10 min. begun: 1, ended: 4."), "{text}");
    }

    #[test]
    fn a_line_has_gaps() {
        assert_eq!(path(&[1.0, 0.0, 1.0, 2.0], |v| v), "M0.20 1.00H0.80M2.20 1.00H2.80L3.20 2.00H3.80");
    }
}
