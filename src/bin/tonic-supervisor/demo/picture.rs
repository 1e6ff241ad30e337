//! The demo's picture: every call of both channels, by when it was made and how long it took; the
//! outages, and the states of the supervised channel.

use super::{
    colours::{
        ANSWERED, CONNECTING, Colour, FAILED, FAILING, FAINT, GRID, OUTAGE, PAPER, READY, TEXT,
        with_dark_colours,
    },
    outages::Outage,
    served::Served,
    supervised::{StateSince, States},
    tally::Call,
};
use crate::CliError;
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use std::{io, time::Duration};
use tonic_supervisor::{ConnectivityState, printable};

/// Width and height, in pixels.
const SIZE: (u32, u32) = (960, 640);
/// Where the calls are, from left to right; the axis has its title in the margin.
const LEFT: u32 = 84;
const MARGIN: u32 = 16;
const RIGHT: u32 = 20;
/// The heights of a panel: its heading, the outages' names, the states, the calls.
const PANEL: u32 = 262;
const HEADING: u32 = 22;
const NAMES: u32 = 18;
const STATES: u32 = 14;
/// How much higher each server's states make the picture, from the second on.
const ROW: u32 = 12;
/// Powers of ten of a millisecond, from bottom to top: 0.1 ms to 10 s.
const LATENCIES: std::ops::Range<f64> = -1.0..4.0;

/// A call that took longer has a line from its beginning to its end.
const LONG: Duration = Duration::from_millis(300);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// What there is to draw; times are since the demo's start, `calls` are supervised, plain.
pub(super) struct Picture<'a> {
    pub(super) outages: &'a [Outage],
    pub(super) states: &'a States,
    pub(super) calls: [&'a [Call]; 2],
    /// Empty if there was only one.
    pub(super) servers: &'a [Served],
    pub(super) end: Duration,
}

impl Picture<'_> {
    /// The picture as SVG.
    pub(super) fn svg(&self) -> Result<String, CliError> {
        let mut svg = String::new();
        let size = (SIZE.0, SIZE.1 + self.more_rows() * ROW);
        self.draw(&SVGBackend::with_string(&mut svg, size).into_drawing_area())
            .map_err(CliError::failed("cannot draw the picture"))?;
        Ok(with_dark_colours(&svg))
    }

    fn draw(&self, page: &Area) -> Drawn {
        page.fill(&PAPER.light)?;
        let harmed = match self.servers.len() {
            0 | 1 => "the server".to_owned(),
            several => format!("{several} servers"),
        };
        let title = format!(
            "The same agent on two channels, the same outages of {harmed}: every call's latency"
        );
        write(page, &title, (LEFT as i32, 22), 17, TEXT, HPos::Left)?;
        legend(page, 46, self.servers.len() > 1)?;
        let [supervised, plain] = self.calls;
        let (_, page) = page.split_vertically(62);
        let (upper, lower) = page.split_vertically(PANEL + self.more_rows() * ROW);
        self.panel(&upper, "supervised channel", supervised, true)?;
        self.panel(&lower, "plain tonic channel", plain, false)?;
        page.present()
    }

    /// One channel's calls; the last panel has the axis of time.
    fn panel(&self, area: &Area, name: &str, calls: &[Call], supervised: bool) -> Drawn {
        let failed = calls.iter().filter(|call| !call.ok).count();
        let mut heading = format!("{name}: {} calls, {failed} failed", calls.len());
        let side = usize::from(!supervised);
        let shares: Vec<_> =
            self.servers.iter().map(|server| server.calls[side].to_string()).collect();
        if !shares.is_empty() {
            heading.push_str(&format!("; answered by each server: {}", shares.join(", ")));
        }
        write(area, &heading, (LEFT as i32, HEADING as i32 / 2), 14, TEXT, HPos::Left)?;

        let end = self.end.as_secs_f64().max(1.0);
        let states = if supervised { STATES + self.more_rows() * ROW } else { 0 };
        let above = HEADING + NAMES + states;
        let mut builder = ChartBuilder::on(area);
        builder
            .margin_top(above)
            .margin_left(MARGIN)
            .margin_right(RIGHT)
            .y_label_area_size(LEFT - MARGIN);
        builder.x_label_area_size(if supervised { 12 } else { 42 });
        let mut chart = builder.build_cartesian_2d(0.0..end, LATENCIES)?;
        let left = area.get_base_pixel().0;
        let x = |at: Duration| chart.backend_coord(&(at.as_secs_f64().min(end), 0.0)).0 - left;
        let names = (HEADING + NAMES / 2) as i32;
        for outage in self.outages {
            let middle = (x(outage.began) + x(outage.over)) / 2;
            write(area, outage.fault, (middle, names), 12, FAINT, HPos::Center)?;
        }
        if supervised {
            for (row, (name, states)) in self.rows().into_iter().enumerate() {
                let top = (HEADING + NAMES + row as u32 * ROW) as i32;
                let bottom = top + (STATES - 4) as i32;
                write(area, &name, (LEFT as i32 - 6, (top + bottom) / 2), 10, FAINT, HPos::Right)?;
                for (state, from, to) in self.spans(states) {
                    let corners = [(x(from), top), (x(to).max(x(from) + 1), bottom)];
                    area.draw(&Rectangle::new(corners, colour_of(state).light.filled()))?;
                }
            }
        }
        chart.draw_series(self.outages.iter().map(|outage| {
            let (from, to) = (outage.began.as_secs_f64(), outage.over.as_secs_f64().min(end));
            Rectangle::new(
                [(from, LATENCIES.start), (to, LATENCIES.end)],
                OUTAGE.light.mix(0.6).filled(),
            )
        }))?;
        let small =
            |colour: &'static RGBColor| TextStyle::from(("sans-serif", points(12))).color(colour);
        chart
            .configure_mesh()
            .x_labels(end as usize + 1)
            .y_labels(6)
            .max_light_lines(0)
            .bold_line_style(GRID.light)
            .axis_style(FAINT.light)
            .label_style(small(&FAINT.light))
            .axis_desc_style(small(&TEXT.light))
            .x_label_formatter(&|second| {
                if supervised { String::new() } else { format!("{second:.0}") }
            })
            .y_label_formatter(&|power| latency(*power))
            .x_desc(if supervised {
                ""
            } else {
                "when the call was made, in seconds since the start"
            })
            .y_desc("how long it took")
            .draw()?;
        let ended = |call: &Call| call.ended.unwrap_or(self.end);
        let place = |call: &Call| (call.began.as_secs_f64(), power(ended(call), call.began));
        chart.draw_series(
            calls.iter().filter(|call| ended(call).saturating_sub(call.began) > LONG).map(|call| {
                let ((from, height), to) = (place(call), ended(call).as_secs_f64().min(end));
                let ink = if call.ok { ANSWERED } else { FAILED };
                PathElement::new([(from, height), (to, height)], ink.light.mix(0.5))
            }),
        )?;
        let (answered, failed): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.ok);
        chart.draw_series(answered.iter().map(|call| dot(place(call))))?;
        chart.draw_series(failed.iter().map(|call| cross(place(call))))?;
        Ok(())
    }

    /// The channel's states, or those of each of several servers, with its name.
    fn rows(&self) -> Vec<(String, &[StateSince])> {
        if self.servers.is_empty() {
            return vec![(String::new(), &self.states.channel)];
        }
        let servers = self.states.servers.iter().zip(1..);
        servers.map(|(states, number)| (format!("server {number}"), &states[..])).collect()
    }

    fn more_rows(&self) -> u32 {
        self.servers.len().saturating_sub(1) as u32
    }

    /// Each state with its beginning and its end.
    fn spans(
        &self,
        states: &[StateSince],
    ) -> impl Iterator<Item = (ConnectivityState, Duration, Duration)> {
        let ends = states.iter().skip(1).map(|(at, _)| *at).chain([self.end]);
        states
            .iter()
            .zip(ends)
            .filter(|((at, _), _)| *at < self.end)
            .map(|((at, state), end)| (*state, *at, end))
    }
}

/// What the marks and the colours mean.
fn legend(page: &Area, y: i32, several: bool) -> Drawn {
    let mut x = LEFT as i32;
    let mut entry = |words: &str, mark: &dyn Fn(i32) -> Drawn| -> Drawn {
        mark(x + 6)?;
        write(page, words, (x + 18, y), 12, TEXT, HPos::Left)?;
        // What letters of a font without serifs take at most, or nearly.
        x +=
            34 + words.chars().map(|letter| if letter.is_uppercase() { 9 } else { 7 }).sum::<i32>();
        Ok(())
    };
    let bar = |ink: Colour| {
        move |x: i32| {
            page.draw(&Rectangle::new([(x - 6, y - 5), (x + 6, y + 5)], ink.light.filled()))
        }
    };
    entry("answered", &|x| page.draw(&dot((x, y))))?;
    entry("failed", &|x| page.draw(&cross((x, y))))?;
    entry("outage", &bar(OUTAGE))?;
    let whose =
        if several { "To the supervised channel each was" } else { "The supervised channel was" };
    entry(whose, &|_| Ok(()))?;
    for state in [
        ConnectivityState::Ready,
        ConnectivityState::Connecting,
        ConnectivityState::TransientFailure,
    ] {
        entry(state.as_str(), &bar(colour_of(state)))?;
    }
    Ok(())
}

fn colour_of(state: ConnectivityState) -> Colour {
    match state {
        ConnectivityState::Ready => READY,
        ConnectivityState::Connecting => CONNECTING,
        ConnectivityState::TransientFailure => FAILING,
        ConnectivityState::Idle | ConnectivityState::Shutdown => GRID,
    }
}

fn dot<C>(place: C) -> Circle<C, i32> {
    Circle::new(place, 2, ANSWERED.light.mix(0.7).filled())
}

fn cross<C>(place: C) -> Cross<C, i32> {
    Cross::new(place, 3, FAILED.light.mix(0.8))
}

/// Writes to the right of a place, or around it; `size` is that of the letters, in pixels.
fn write(area: &Area, words: &str, place: (i32, i32), size: u32, ink: Colour, side: HPos) -> Drawn {
    let style = TextStyle::from(("sans-serif", points(size)))
        .color(&ink.light)
        .pos(Pos::new(side, VPos::Center));
    // XML has no room for control characters, escaped or not; all else the library escapes.
    area.draw_text(&printable(words), &style, place)
}

/// The library divides by this.
fn points(size: u32) -> f64 {
    f64::from(size) * 1.24
}

/// Where a call stands between bottom and top.
fn power(ended: Duration, began: Duration) -> f64 {
    let milliseconds = ended.saturating_sub(began).as_secs_f64() * 1_000.0;
    milliseconds.log10().clamp(LATENCIES.start, LATENCIES.end)
}

/// What stands beside a power of ten of a millisecond.
fn latency(power: f64) -> String {
    match power.round() as i32 {
        power @ 3.. => format!("{} s", 10_u32.pow(power as u32 - 3)),
        power @ 0.. => format!("{} ms", 10_u32.pow(power as u32)),
        power => format!("{:.1} ms", 10_f64.powi(power)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn picture(fault: &'static str) -> String {
        let outages = [Outage { fault, began: s(2), over: s(4) }];
        let states =
            vec![(s(0), ConnectivityState::Ready), (s(2), ConnectivityState::TransientFailure)];
        let states = States { channel: states, servers: Vec::new() };
        let answered = Call { began: s(1), ended: Some(s(3)), ok: true };
        let failed = Call { began: s(2), ended: None, ok: false };
        let calls: [&[Call]; 2] = [&[answered, answered], &[answered, failed]];
        Picture { outages: &outages, states: &states, calls, servers: &[], end: s(5) }
            .svg()
            .expect("drawn")
    }

    #[test]
    fn each_of_several_servers_has_its_states_and_its_calls() {
        let ready = vec![(s(0), ConnectivityState::Ready)];
        let states = States { channel: Vec::new(), servers: vec![ready.clone(), ready.clone()] };
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let servers = [[7, 1], [8, 2]].map(|calls| Served::new(address, &ready, s(5), calls));
        let picture = Picture {
            outages: &[],
            states: &states,
            calls: [&[]; 2],
            servers: &servers,
            end: s(5),
        };
        let svg = picture.svg().expect("drawn");
        for words in ["of 2 servers", "server 1", "server 2", "server: 7, 8", "server: 1, 2"] {
            assert!(svg.contains(words), "{words}");
        }
        let bars = svg.matches("#2DA44E").count() - svg.matches("=\"#2DA44E\"]").count();
        assert_eq!(bars, 3, "one for each server, one in the legend");
    }

    #[test]
    fn each_call_is_a_dot_or_a_cross_and_each_panel_says_how_many() {
        let svg = picture("kill");
        let legend = 1;
        assert_eq!(svg.matches("<circle").count(), 3 + legend);
        let strokes =
            svg.lines().filter(|line| line.starts_with("<line") && line.contains("#CF222E"));
        assert_eq!(strokes.count(), 2 * (1 + legend), "a cross is two lines");
        assert!(svg.contains("supervised channel: 2 calls, 0 failed"));
        assert!(svg.contains("plain tonic channel: 2 calls, 1 failed"));
    }

    #[test]
    fn axes_marks_and_bands_have_their_words() {
        let svg = picture("kill");
        for words in [
            "kill",
            "READY",
            "TRANSIENT_FAILURE",
            "answered",
            "10 ms",
            "10 s",
            "how long it took",
            "seconds",
        ] {
            assert!(svg.contains(words), "{words}");
        }
    }

    #[test]
    fn text_in_the_picture_is_escaped() {
        let svg = picture("<b a=\"1\" & '\u{1b}'>");
        assert!(svg.contains("&lt;b a=&quot;1&quot; &amp; &apos;\\u{1b}&apos;&gt;"), "{svg}");
        assert!(!svg.contains('\u{1b}') && !svg.contains("<b"));
    }

    #[test]
    fn latencies_of_all_lengths_have_a_place() {
        assert_eq!(power(s(1), s(1)), LATENCIES.start);
        assert_eq!(power(s(2), s(1)), 3.0);
        assert_eq!(power(s(9_999), s(1)), LATENCIES.end);
        let labels = [-1.0, 0.0, 2.0, 3.0, 4.0].map(latency);
        assert_eq!(labels, ["0.1 ms", "1 ms", "100 ms", "1 s", "10 s"]);
    }
}
