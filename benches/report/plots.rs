//! The plots, as SVG: what a call costs by the number of calls in flight, for each shape, and how
//! soon the first call succeeds after an outage. A plot without figures is not drawn.

use super::figures::{Figure, Figures};
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use std::{error::Error, fs, path::Path};

type Drawn = Result<(), Box<dyn Error>>;

const SIZE: (u32, u32) = (720, 380);
/// Numbers of calls in flight; they are as far apart as their order.
const IN_FLIGHT: [u64; 4] = [1, 16, 128, 1_024];
const PAYLOAD: u64 = 64;

const TEXT: RGBColor = RGBColor(0x1F, 0x23, 0x28);
const FAINT: RGBColor = RGBColor(0x57, 0x60, 0x6A);
const GRID: RGBColor = RGBColor(0xD8, 0xDE, 0xE4);
const COLOURS: [RGBColor; 4] = [
    RGBColor(0x09, 0x69, 0xDA),
    RGBColor(0xCF, 0x22, 0x2E),
    RGBColor(0x2D, 0xA4, 0x4E),
    RGBColor(0x82, 0x50, 0xDF),
];

/// What a measure's name begins with in each shape, and what the shape is called.
const SHAPES: [(&str, &str); 4] = [
    ("", "one process, many workers"),
    ("apart_", "a process for each client"),
    ("one_worker_", "a process with one worker for each client"),
    ("apart_two_links_", "a process for each client, connections: 2"),
];

const OUTAGES: [&str; 4] = ["0.2", "1", "2", "10"];

pub(crate) fn draw(figures: &Figures, folder: &Path) -> Drawn {
    fs::create_dir_all(folder)?;
    let plots = [
        ("cpu_per_call", "CPU of the client per call, of bare tonic's (64 B; lower is better)"),
        ("calls_per_s", "calls/s, of bare tonic's (64 B; higher is better)"),
        ("p99", "p99, of bare tonic's (64 B; lower is better)"),
    ];
    for (measure, title) in plots {
        let lines = SHAPES.map(|(prefix, name)| {
            let at = |n| figures.get("call_path", &format!("{prefix}{measure}"), PAYLOAD, n);
            (name, IN_FLIGHT.map(at))
        });
        ratios(&folder.join(format!("{measure}.svg")), title, &lines)?;
    }
    recovery(figures, &folder.join("recovery.svg"))
}

/// One line for each shape; where it was measured in more than one round, with the range of the
/// ratios.
fn ratios(file: &Path, title: &str, lines: &[(&str, [Option<Figure>; 4])]) -> Drawn {
    let all = || lines.iter().flat_map(|(_, line)| line.iter().flatten());
    let Some(most) = all().filter_map(|figure| figure.ratio).reduce(f64::max) else {
        return Ok(());
    };
    let page = SVGBackend::new(file, SIZE).into_drawing_area();
    page.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&page)
        .caption(title, text(15, &TEXT))
        .margin(12)
        .margin_bottom(12 + 18 * lines.len() as u32)
        .x_label_area_size(38)
        .y_label_area_size(44)
        .build_cartesian_2d(-0.3..3.3, 0.0..(most * 1.15).max(1.2))?;
    let in_flight = |place: &f64| match place.fract().abs() < 0.01 {
        true => IN_FLIGHT.get(place.round() as usize).map_or(String::new(), u64::to_string),
        false => String::new(),
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(FAINT)
        .label_style(text(12, &FAINT))
        .x_labels(8)
        .x_label_formatter(&in_flight)
        .x_desc("calls in flight")
        .axis_desc_style(text(12, &TEXT))
        .draw()?;
    // Bare tonic.
    chart.draw_series([PathElement::new([(-0.3, 1.0), (3.3, 1.0)], FAINT.stroke_width(2))])?;
    for (number, ((name, line), colour)) in lines.iter().zip(COLOURS).enumerate() {
        // Beside each other, so that ranges can be told apart.
        let place = |at: usize| at as f64 + (number as f64 - 1.5) * 0.05;
        let figures = || line.iter().enumerate().filter_map(|(at, one)| Some((at, (*one)?)));
        let points: Vec<_> =
            figures().filter_map(|(at, figure)| Some((place(at), figure.ratio?))).collect();
        let ranges = figures().filter_map(|(at, figure)| {
            let (least, most) = figure.range?;
            Some(PathElement::new([(place(at), least), (place(at), most)], colour.mix(0.35)))
        });
        chart.draw_series(ranges)?;
        chart.draw_series([PathElement::new(points.clone(), colour.stroke_width(2))])?;
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        let y = SIZE.1 as i32 - 18 * (lines.len() - number) as i32;
        page.draw(&Circle::new((60, y), 4, colour.filled()))?;
        page.draw_text(name, &beside(12), (72, y))?;
    }
    page.present()?;
    Ok(())
}

/// Two bars for each outage: the supervised channel, and bare tonic, which dials for each call.
fn recovery(figures: &Figures, file: &Path) -> Drawn {
    let measured = |end: &str| {
        let of = |seconds| format!("killed_for_{seconds}_s.first_success_after{end}");
        let value = |seconds| figures.get("recovery", &of(seconds), 0, 0).map(|one| one.value);
        OUTAGES.map(value)
    };
    let sides = [("supervised", measured("")), ("bare tonic", measured(".tonic"))];
    let all = sides.iter().flat_map(|(_, values)| values.iter().flatten().copied());
    let Some(most) = all.filter(|value| value.is_finite()).reduce(f64::max) else { return Ok(()) };
    let page = SVGBackend::new(file, SIZE).into_drawing_area();
    page.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&page)
        .caption("first OK after the server is back, ms", text(15, &TEXT))
        .margin(12)
        .margin_bottom(12 + 18)
        .x_label_area_size(38)
        .y_label_area_size(44)
        .build_cartesian_2d(-0.5..3.5, 0.0..most * 1.15)?;
    let seconds = |place: &f64| match place.fract().abs() < 0.01 {
        true => OUTAGES.get(place.round() as usize).map_or("", |seconds| seconds).to_owned(),
        false => String::new(),
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(FAINT)
        .label_style(text(12, &FAINT))
        .x_labels(9)
        .x_label_formatter(&seconds)
        .x_desc("the server was killed for, s")
        .axis_desc_style(text(12, &TEXT))
        .draw()?;
    for (number, ((name, values), colour)) in sides.iter().zip(COLOURS).enumerate() {
        let bars = values.iter().enumerate().filter_map(|(at, value)| {
            let left = at as f64 - 0.3 + 0.3 * number as f64;
            let value = (*value)?;
            value.is_finite().then(|| {
                Rectangle::new([(left, 0.0), (left + 0.28, value)], colour.mix(0.8).filled())
            })
        });
        chart.draw_series(bars)?;
        let x = 60 + 140 * number as i32;
        page.draw(&Circle::new((x, SIZE.1 as i32 - 18), 4, colour.filled()))?;
        page.draw_text(name, &beside(12), (x + 12, SIZE.1 as i32 - 18))?;
    }
    page.present()?;
    Ok(())
}

/// The library divides the size by 1.24.
fn text(size: u32, colour: &RGBColor) -> TextStyle<'_> {
    TextStyle::from(("sans-serif", f64::from(size) * 1.24)).color(colour)
}

fn beside(size: u32) -> TextStyle<'static> {
    text(size, &TEXT).pos(Pos::new(HPos::Left, VPos::Center))
}
