// The 1-D convolution explorer: plain JavaScript and SVG, no library, no network.
// jaxconvExplorer.mount(element) draws it; the address keeps the settings after the '#'.
"use strict";

const jaxconvExplorer = (() => {
  const SIGNAL = [0, 1, 3, 2, -1, -2, 0, 1, 2, 0, -1, 1];
  const KERNELS = {
    1: [1], 2: [-1, 1], 3: [-1, 0, 1], 4: [-1, -1, 1, 1], 5: [1, 2, 0, -2, -1],
    6: [1, 1, 1, -1, -1, -1], 7: [1, 2, 3, 0, -3, -2, -1],
  };
  const LIMITS = { k: [1, 7], stride: [1, 4], padding: [0, 4], dilation: [1, 3] };
  const NAMES = { k: "kernel size", stride: "stride", padding: "padding", dilation: "dilation" };
  const CELL = 34;

  // What jaxconv.conv1d computes for one channel: a cross-correlation, zeros outside.
  function conv1d(x, w, { stride, padding, dilation }) {
    const y = [];
    const width = outputWidth(x.length, w.length, { stride, padding, dilation });
    for (let i = 0; i < width; i++) {
      let sum = 0;
      for (let j = 0; j < w.length; j++) {
        const at = i * stride + j * dilation - padding;
        if (at >= 0 && at < x.length) sum += w[j] * x[at];
      }
      y.push(sum);
    }
    return y;
  }

  function outputWidth(n, k, { stride, padding, dilation }) {
    return Math.max(0, Math.floor((n + 2 * padding - dilation * (k - 1) - 1) / stride) + 1);
  }

  function formula(n, k, { stride, padding, dilation }) {
    const out = outputWidth(n, k, { stride, padding, dilation });
    return `⌊(${n} + 2·${padding} − ${dilation}·(${k} − 1) − 1) / ${stride}⌋ + 1 = ${out}`;
  }

  function fromAddress(text) {
    const state = { k: 3, stride: 1, padding: 0, dilation: 1, position: 0 };
    for (const [name, value] of new URLSearchParams(text.replace(/^#/, ""))) {
      const number = Number.parseInt(value, 10);
      if (!Object.hasOwn(state, name) || !Number.isFinite(number)) continue;
      const [low, high] = LIMITS[name] ?? [0, 99];
      state[name] = Math.min(high, Math.max(low, number));
    }
    return state;
  }

  function svg(tag, attributes, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  function written(value) {
    return String(value).replace("-", "−");
  }

  function mount(root, address = "") {
    const state = fromAddress(address || window.location.hash);
    const controls = document.createElement("div");
    controls.className = "explorer-controls";
    const readouts = {};
    for (const name of Object.keys(LIMITS)) {
      const label = document.createElement("label");
      const slider = document.createElement("input");
      const [low, high] = LIMITS[name];
      Object.assign(slider, { type: "range", min: low, max: high, step: 1, value: state[name] });
      slider.dataset.name = name;
      readouts[name] = document.createElement("output");
      label.append(NAMES[name], slider, readouts[name]);
      controls.append(label);
      slider.addEventListener("input", () => {
        state[name] = Number(slider.value);
        draw();
        remember();
      });
    }
    const picture = svg("svg", {
      class: "explorer-picture", role: "application", tabindex: 0,
      "aria-label": "A signal, a kernel under its window, and the outputs. Arrow keys move the window.",
    });
    const sum = document.createElement("p");
    sum.className = "explorer-sum";
    const width = document.createElement("p");
    width.className = "explorer-width";
    root.replaceChildren(controls, picture, sum, width);

    function remember() {
      const words = Object.entries(state).map(([name, value]) => `${name}=${value}`);
      try {
        history.replaceState(null, "", "#" + words.join("&"));
      } catch {
        // A page that may not change its address still works.
      }
    }

    function draw() {
      const w = KERNELS[state.k];
      const { stride, padding, dilation } = state;
      const y = conv1d(SIGNAL, w, state);
      state.position = Math.min(state.position, Math.max(0, y.length - 1));
      const start = state.position * stride;
      const total = SIGNAL.length + 2 * padding;
      const reach = dilation * (w.length - 1) + 1;
      for (const name of Object.keys(LIMITS)) readouts[name].textContent = state[name];

      const columns = Math.max(total, reach, y.length);
      const left = 28;
      const height = 268;
      picture.setAttribute("viewBox", `0 0 ${left + columns * CELL + 8} ${height}`);
      picture.style.maxWidth = `${(left + columns * CELL + 8) * 1.15}px`;
      picture.replaceChildren();
      const place = (column) => left + column * CELL;
      const box = (kind, column, top, value, extra = {}) => {
        const group = svg("g", { class: `cell ${kind}`, "data-value": value ?? "", ...extra });
        const sign = value > 0 ? "plus" : value < 0 ? "minus" : "zero";
        const strength = Math.min(1, 0.25 + Math.abs(value ?? 0) / 6);
        group.append(
          svg("rect", { x: place(column) + 1, y: top, width: CELL - 2, height: CELL - 2, rx: 4 }),
          svg("rect", {
            x: place(column) + 1, y: top, width: CELL - 2, height: CELL - 2, rx: 4,
            class: `tint ${sign}`, "fill-opacity": value ? strength * 0.6 : 0,
          }),
        );
        if (value !== null) {
          group.append(svg("text", {
            x: place(column) + CELL / 2, y: top + CELL / 2 + 4,
          }, written(value)));
        }
        picture.append(group);
      };

      for (const [text, top] of [["x", 28], ["w", 94], ["y", 158]]) {
        picture.append(svg("text", { class: "name", x: 10, y: top }, text));
      }
      for (let i = 0; i < total; i++) {
        const at = i - padding;
        const inside = at >= 0 && at < SIGNAL.length;
        box(inside ? "x" : "x pad", i, 8, inside ? SIGNAL[at] : 0);
      }
      if (y.length) {
        w.forEach((value, j) => {
          const column = start + j * dilation;
          picture.append(svg("line", {
            class: "tap", x1: place(column) + CELL / 2, x2: place(column) + CELL / 2, y1: 42, y2: 74,
          }));
          box("w", column, 74, value);
        });
        picture.append(svg("rect", {
          class: "window", x: place(start), y: 6, width: reach * CELL, height: CELL + 2, rx: 5,
        }));
      }
      y.forEach((value, i) => {
        const chosen = i === state.position ? " chosen" : "";
        box("y" + chosen, i, 138, value, { "data-index": i });
      });
      // The outputs as a curve: a point for each, its height its value.
      const largest = Math.max(1, ...y.map(Math.abs));
      const middle = 224;
      picture.append(svg("line", {
        class: "axis", x1: left, x2: place(columns), y1: middle, y2: middle,
      }));
      y.forEach((value, i) => {
        const x = place(i) + CELL / 2;
        const end = middle - (value / largest) * 38;
        const chosen = i === state.position ? " chosen" : "";
        picture.append(svg("line", { class: "stem" + chosen, x1: x, x2: x, y1: middle, y2: end }));
        picture.append(svg("circle", { class: "dot" + chosen, cx: x, cy: end, r: 4.5 }));
      });

      const factor = (value) => (value < 0 ? `(${written(value)})` : `${value}`);
      const terms = w.map((value, j) => {
        const at = start + j * dilation - padding;
        const there = at >= 0 && at < SIGNAL.length ? SIGNAL[at] : 0;
        return `${factor(there)}·${factor(value)}`;
      });
      sum.textContent = y.length
        ? `y[${state.position}] = ${terms.join(" + ")} = ${written(y[state.position])}`
        : "The kernel is wider than the padded signal: there is no output.";
      width.textContent = `output width = ${formula(SIGNAL.length, w.length, state)}`;
      root.dataset.output = JSON.stringify(y);
      root.dataset.position = state.position;
    }

    function moveTo(event) {
      const point = new DOMPoint(event.clientX, event.clientY);
      const { x } = point.matrixTransform(picture.getScreenCTM().inverse());
      const reach = state.dilation * (state.k - 1) + 1;
      const column = (x - 28) / CELL - reach / 2;
      const count = outputWidth(SIGNAL.length, state.k, state);
      const nearest = Math.round(column / state.stride);
      state.position = Math.min(Math.max(0, nearest), Math.max(0, count - 1));
      draw();
    }

    let dragging = false;
    picture.addEventListener("pointerdown", (event) => {
      dragging = true;
      try {
        picture.setPointerCapture(event.pointerId);
      } catch {
        // A pointer that has gone already cannot be captured.
      }
      moveTo(event);
      event.preventDefault();
      picture.focus();
    });
    picture.addEventListener("pointermove", (event) => {
      if (dragging) moveTo(event);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      picture.addEventListener(name, () => {
        dragging = false;
        remember();
      });
    }
    picture.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      state.position = Math.max(0, state.position + step);
      draw();
      remember();
      event.preventDefault();
    });
    draw();
  }

  return { mount, conv1d, outputWidth, formula, SIGNAL, KERNELS };
})();

document.addEventListener("DOMContentLoaded", () => {
  for (const root of document.querySelectorAll("[data-explorer]")) jaxconvExplorer.mount(root);
});
