// Moves the question of a forecast: factor, worth and prices. The data are
// those of `explorer.py`, whose `sentence` `say` repeats. Texts are set as text,
// never as HTML.
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const TONES = { collect: "yes", "do not collect": "no" };

  function add(parent, name, attributes = {}, text = "") {
    const made = parent.namespaceURI === SVG || name === "svg"
      ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    if (text) made.textContent = text;
    parent.append(made);
    return made;
  }

  const short = (number) => String(Number(number.toPrecision(6)));
  const whole = (number) => number.toLocaleString("en-US",
    { maximumSignificantDigits: Math.abs(number) < 100 ? 3 : 21,
      maximumFractionDigits: 0, roundingPriority: "lessPrecision" });
  const capital = (text) => text[0].toUpperCase() + text.slice(1);

  function percent(chance) {
    if (chance > 0.99) return "above 99%";
    return chance < 0.01 ? "below 1%" : `${Math.round(100 * chance)}%`;
  }

  // The share of the drawn gains above `worth`, from their quantiles.
  function chanceOf(gains, worth) {
    const above = gains.findIndex((gain) => gain > worth);
    if (above <= 0) return above === 0 ? 1 : 0;
    const step = gains[above] - gains[above - 1];
    const part = (worth - gains[above - 1]) / step;
    return 1 - (above - 1 + part) / (gains.length - 1);
  }

  function answer(curve, at, worth) {
    const option = curve.options[at], asked = curve.asked;
    const judge = ([, low, high]) => low > worth ? "collect"
      : high < worth ? "do not collect" : "not enough evidence";
    let why = option.withheld, verdict = "not enough evidence";
    const room = curve.left === null || worth <= curve.left;
    let holds = room && !why;
    if (!room) {
      why = "The scale of the score has no room for such a gain.";
    } else if (!why) {
      verdict = judge(option.gain);
      if (verdict === "not enough evidence") {
        why = "The interval leaves open whether there is such a gain: a "
          + `verdict needs a chance ${curve.needed}.`;
      } else {
        const rival = option.rivals.find(({ gain }) => judge(gain) !== verdict);
        if (rival) {
          [verdict, why, holds] = ["not enough evidence", rival.why, false];
        }
      }
    }
    const chance = at === asked.at && worth === asked.worth
      ? asked.chance : chanceOf(option.gains, worth);
    return { option, verdict, why, chance, holds };
  }

  function say(curve, found, worth) {
    const { option, verdict, chance, holds } = found;
    const fall = curve.sign < 0 ? "a fall of " : "";
    const unit = curve.unit === "points" ? " points" : "";
    const asked = worth > 0 ? `${fall}${short(worth)}${unit}` : curve.any;
    const unless = holds ? "" : " if the fitted curve holds";
    return [
      `${capital(verdict)}:`, option.more, curve.modals[verdict], option.change,
      `You asked for ${asked}; chance ${percent(chance)}${unless}.`,
      option.effort,
    ].filter(Boolean).join(" ");
  }

  function price(curve, option, each, hour) {
    const parts = [];
    if (each > 0) {
      parts.push([`${whole(option.added)} more ${curve.things}`, each,
        option.added * each]);
    }
    if (hour > 0 && option.hours !== null) {
      parts.push([`${short(Number(option.hours.toPrecision(2)))} device-hours`,
        hour, option.hours * hour]);
    }
    if (!parts.length) return "Give a price to see what it costs.";
    const total = parts.reduce((sum, part) => sum + part[2], 0);
    const gain = option.gain[0];
    const unit = curve.unit === "points" ? "point" : `unit of ${curve.unit}`;
    const rate = gain > 0 ? `, ${whole(total / gain)} per ${unit} gained` : "";
    const words = parts.map(([what, one]) => `${what} at ${short(one)}`);
    return `Costs ${whole(total)}${rate}: ${words.join(" and ")}.`;
  }

  function draw(chart, curve, found, worth) {
    const data = curve.chart, { option } = found;
    const width = Math.max(280, Math.min(chart.clientWidth || 640, 900));
    const height = 300, left = 52, right = 12, top = 12, bottom = 44;
    const goal = curve.now + curve.sign * worth;
    const shown = [...data.low, ...data.high, ...data.runs[1], ...option.scores];
    const [low, high] = [Math.min(...shown), Math.max(...shown)];
    const [first, last] = [data.sizes[0], data.sizes.at(-1)].map(Math.log10);
    const x = (size) => left
      + (Math.log10(size) - first) / (last - first) * (width - left - right);
    const y = (score) => height - bottom
      - (score - low) / (high - low || 1) * (height - top - bottom);
    const path = (sizes, scores) => sizes.map((size, i) =>
      `${x(size).toFixed(1)},${y(scores[i]).toFixed(1)}`);
    chart.textContent = "";
    const svg = add(chart, "svg", { viewBox: `0 0 ${width} ${height}`, width,
      height, role: "img", "aria-label": `${data.y} by ${data.x}: points are `
      + "runs and their means, the band holds 95% of runs, the bar is the "
      + "question above." });
    const range = high - low || 1;
    const step = 10 ** Math.floor(Math.log10(range / 4));
    const each = step * (range / step > 20 ? 5 : range / step > 8 ? 2 : 1);
    for (let tick = Math.ceil(low / each) * each; tick <= high; tick += each) {
      add(svg, "line", { class: "axis", x1: left, x2: width - right,
        y1: y(tick), y2: y(tick) });
      add(svg, "text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" },
        short(Number(tick.toPrecision(12))));
    }
    for (let power = Math.ceil(first - 1e-9); power <= last + 1e-9; power++) {
      add(svg, "text", { x: x(10 ** power), y: height - bottom + 18,
        "text-anchor": "middle" }, Intl.NumberFormat("en-US",
        { notation: "compact" }).format(10 ** power));
    }
    add(svg, "text", { x: (left + width - right) / 2, y: height - 8,
      "text-anchor": "middle" }, data.x);
    add(svg, "text", { x: -(height - bottom + top) / 2, y: 14,
      transform: "rotate(-90)", "text-anchor": "middle" }, data.y);
    add(svg, "polygon", { class: "band", points: [
      ...path(data.sizes, data.high),
      ...path(data.sizes, data.low).reverse()].join(" ") });
    add(svg, "polyline", { class: "curve",
      points: path(data.sizes, data.curve).join(" ") });
    for (const [name, r] of [["run", 2.5], ["mean", 4.5]]) {
      const [sizes, scores] = data[`${name}s`];
      sizes.forEach((size, i) => add(svg, "circle",
        { class: name, cx: x(size), cy: y(scores[i]), r }));
    }
    if (goal >= low && goal <= high) {
      add(svg, "line", { class: "enough", x1: left, x2: width - right,
        y1: y(goal), y2: y(goal) });
      // A falling curve comes from above the line, so the words are below.
      add(svg, "text", { x: left + 6, y: y(goal) + (curve.sign > 0 ? -5 : 13) },
        worth > 0 ? "worth it beyond here" : "the curve at the largest size");
    }
    const at = x(data.means[0].at(-1) * option.factor);
    const [middle, from, to] = option.scores;
    add(svg, "line", { class: "chosen", x1: at, x2: at, y1: y(from), y2: y(to) });
    add(svg, "circle", { class: "chosen", cx: at, cy: y(middle), r: 4 });
  }

  function control(parent, words, name, attributes) {
    const label = add(parent, "label", {}, words);
    const output = add(label, "strong");
    return [add(label, "input", { name, ...attributes }), output];
  }

  function explore(section) {
    const { curves } = JSON.parse(section.querySelector("script").textContent);
    section.hidden = false;
    add(section, "h3", {}, "Ask another question");
    const controls = add(section, "div", { class: "controls" });
    let choice = null;
    if (curves.length > 1) {
      choice = add(add(controls, "label", {}, "Curve"), "select",
        { name: "curve" });
      curves.forEach((curve, i) => add(choice, "option", { value: i },
        curve.name));
    }
    const slider = { type: "range", min: 0 };
    const money = { type: "number", min: 0, step: "any", value: "",
      inputmode: "decimal", placeholder: "0" };
    const [factor, times] = control(controls, "How much data: ", "factor",
      { ...slider, step: 1 });
    const [worth, enough] = control(controls, "Worth it from: ", "worth",
      { ...slider, step: "any" });
    const [each] = control(controls, "Price of one more of ", "each", money);
    const [hour] = control(controls, "Price of a device-hour", "hour", money);
    const live = add(section, "div", { "aria-live": "polite" });
    const badge = add(live, "p", { class: "verdict" });
    const said = add(live, "p", { class: "lead" });
    const why = add(live, "p", { class: "why" });
    const costs = add(live, "p", { class: "costs" });
    const chart = add(section, "div", { class: "chart" });
    let curve = null;

    function show() {
      const at = Number(factor.value);
      // Round what is dragged; what was asked for stays as it is.
      const raw = Number(worth.value), given = curve.asked.worth;
      const gain = Math.abs(raw - given) < curve.step / 2 ? given
        : Number((Math.round(raw / curve.step) * curve.step).toPrecision(12));
      const found = answer(curve, at, gain);
      times.textContent = `${short(found.option.factor)} times`;
      enough.textContent = gain > 0 ? `${short(gain)} ${curve.unit}` : "any gain";
      factor.setAttribute("aria-valuetext", times.textContent);
      worth.setAttribute("aria-valuetext", enough.textContent);
      section.className = `explorer ${TONES[found.verdict] || "open"}`;
      badge.textContent = found.verdict;
      said.textContent = say(curve, found, gain);
      why.textContent = found.why;
      costs.textContent = price(curve, found.option, Number(each.value),
        Number(hour.value));
      draw(chart, curve, found, gain);
    }

    function start() {
      curve = curves[choice ? Number(choice.value) : 0];
      factor.max = curve.options.length - 1;
      factor.value = curve.asked.at;
      worth.max = curve.most;
      worth.value = curve.asked.worth;
      each.parentElement.firstChild.textContent = curve.things === "images"
        ? "Price of an image, with its labels"
        : `Price of one more (${curve.things})`;
      hour.parentElement.hidden = curve.options[0].hours === null;
      show();
    }

    for (const input of [factor, worth, each, hour]) {
      input.addEventListener("input", show);
    }
    if (choice) choice.addEventListener("input", start);
    window.addEventListener("resize", show);
    start();
  }

  document.querySelectorAll("section.explorer").forEach(explore);
})();
