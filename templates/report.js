"use strict";
// Paints the mosaics when they come near the viewport, and makes the page easier to walk through. It reads only what
// stands in this file: the sprites are inert script elements, the numbers are the text of the channel tables.
document.documentElement.classList.add("scripts");

(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const PALETTE_AT = 41;
  const TILE_LIMIT = 128;
  const HEIGHT_LIMIT = 680;
  const PIXEL_LIMIT = 12e6;

  // ---- sprites ----
  const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
    for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });
  const crc = (bytes) => {
    let sum = 0xffffffff;
    for (const byte of bytes) sum = crcTable[(sum ^ byte) & 255] ^ (sum >>> 8);
    return ~sum >>> 0;
  };
  const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const currentPalette = () => {
    const option = document.getElementById("colormap").selectedOptions[0];
    return { name: option.value, colours: decode(option.dataset.palette), signed: "signed" in option.dataset };
  };
  const recolour = (png, colours) => {
    png.set(colours, PALETTE_AT);
    new DataView(png.buffer).setUint32(PALETTE_AT + 768, crc(png.subarray(PALETTE_AT - 4, PALETTE_AT + 768)));
    return png;
  };

  const geometry = (figure) => {
    const { columns, rows, tileWidth, tileHeight, gap, count } = figure.dataset;
    const g = { columns: +columns, rows: +rows, width: +tileWidth, height: +tileHeight, gap: +gap, count: +count };
    g.stepX = g.width + g.gap;
    g.stepY = g.height + g.gap;
    g.totalWidth = g.columns * g.stepX - g.gap;
    g.totalHeight = g.rows * g.stepY - g.gap;
    return g;
  };
  // Small maps are drawn larger by a whole factor, so that every pixel is a square, and then fitted to the page.
  const fit = (canvas) => {
    const g = geometry(canvas.parentElement);
    const room = canvas.parentElement.clientWidth;
    if (!room) return;
    const scale = Math.min(room / g.totalWidth, Math.max(1, TILE_LIMIT / g.width), Math.max(HEIGHT_LIMIT, room / 3) / g.totalHeight);
    const factor = Math.max(1, Math.min(Math.ceil(scale), Math.floor(Math.sqrt(PIXEL_LIMIT / (g.totalWidth * g.totalHeight)))));
    canvas.style.width = `${Math.round(g.totalWidth * scale)}px`;
    if (+canvas.dataset.factor === factor) return;
    canvas.dataset.factor = factor;
    canvas.width = g.totalWidth * factor;
    canvas.height = g.totalHeight * factor;
    if (canvas.dataset.wanted) paint(canvas, true);
  };
  const paint = async (canvas, again = false) => {
    const { name, colours } = currentPalette();
    const wanted = `${name} ${canvas.dataset.factor}`;
    if (canvas.dataset.wanted === wanted && !again) return;
    canvas.dataset.wanted = wanted;
    const png = recolour(decode(document.getElementById(canvas.dataset.sprite).textContent), colours);
    const bitmap = await createImageBitmap(new Blob([png], { type: "image/png" }));
    if (canvas.dataset.wanted === wanted) {
      const brush = canvas.getContext("2d");
      brush.imageSmoothingEnabled = false;
      brush.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      clearGaps(canvas, brush);
      canvas.classList.add("painted");
      canvas.dispatchEvent(new Event("painted"));
    }
    bitmap.close();
  };
  const clearGaps = (canvas, brush) => {
    const g = geometry(canvas.parentElement);
    const factor = +canvas.dataset.factor;
    const clear = (x, y, width, height) => brush.clearRect(x * factor, y * factor, width * factor, height * factor);
    for (let x = g.width; g.gap && x < g.totalWidth; x += g.stepX) clear(x, 0, g.gap, g.totalHeight);
    for (let y = g.height; g.gap && y < g.totalHeight; y += g.stepY) clear(0, y, g.totalWidth, g.gap);
    const used = g.count % g.columns;
    if (used) clear(used * g.stepX - g.gap, g.totalHeight - g.height, g.totalWidth, g.height);
  };

  // ---- one channel's numbers ----
  const readNumbers = (pre) =>
    pre.textContent.split("\n").slice(1).map((line) => {
      const [channel, min, max, mean, std, zeros, ...remarks] = line.trim().split(/\s+/);
      return { channel, min, max, mean, std, zeros, remarks: remarks.join(" ") };
    });
  const pretty = (text) => (text === "nan" ? "–" : text.replace(/-/g, "−"));

  const inspect = (figure) => {
    const canvas = figure.querySelector("canvas");
    const inspector = figure.parentElement.querySelector(".inspector");
    const [title, big, scale, middle, facts] = inspector.children;
    const ends = readEnds(figure);
    const cursor = figure.appendChild(document.createElement("div"));
    cursor.className = "cursor";
    cursor.hidden = true;
    let numbers = null;
    let held = -1;
    let shown = -1;

    const g = geometry(figure);
    const place = (box, channel) => {
      const factor = canvas.clientWidth / g.totalWidth;
      box.style.left = `${(channel % g.columns) * g.stepX * factor}px`;
      box.style.top = `${Math.floor(channel / g.columns) * g.stepY * factor}px`;
      box.style.width = `${g.width * factor}px`;
      box.style.height = `${g.height * factor}px`;
    };
    const show = (channel) => {
      if (!numbers) numbers = readNumbers(document.getElementById(figure.dataset.numbers));
      const row = numbers[channel];
      if (!row) return;
      shown = channel;
      inspector.hidden = cursor.hidden = false;
      cursor.classList.toggle("held", held === channel);
      place(cursor, channel);
      title.textContent = `Channel ${row.channel}`;
      big.width = g.width;
      big.height = g.height;
      const factor = canvas.width / g.totalWidth;
      const x = (channel % g.columns) * g.stepX * factor, y = Math.floor(channel / g.columns) * g.stepY * factor;
      const brush = big.getContext("2d");
      brush.imageSmoothingEnabled = false;
      brush.drawImage(canvas, x, y, g.width * factor, g.height * factor, 0, 0, g.width, g.height);
      paintScale(scale, middle, ends(channel, row));
      const lines = [["Min", row.min], ["Max", row.max], ["Mean", row.mean], ["Std", row.std], ["Zeros", `${row.zeros} %`]];
      if (row.remarks) lines.push(["Remarks", row.remarks]);
      facts.replaceChildren(...lines.map(([label, value]) => {
        const line = document.createElement("div");
        line.append(document.createElement("dt"), document.createElement("dd"));
        line.firstChild.textContent = label;
        line.lastChild.textContent = pretty(value);
        return line;
      }));
    };
    const hide = () => {
      shown = -1;
      inspector.hidden = cursor.hidden = true;
    };
    const at = (event) => {
      const factor = g.totalWidth / canvas.clientWidth;
      const column = Math.floor((event.offsetX * factor) / g.stepX);
      const channel = Math.floor((event.offsetY * factor) / g.stepY) * g.columns + column;
      return column >= 0 && column < g.columns && channel >= 0 && channel < g.count ? channel : -1;
    };
    const hold = (channel) => {
      held = channel === held ? -1 : channel;
      if (channel >= 0) show(channel);
    };
    canvas.addEventListener("pointermove", (event) => held < 0 && at(event) >= 0 && at(event) !== shown && show(at(event)));
    canvas.addEventListener("pointerleave", () => (held < 0 ? hide() : show(held)));
    canvas.addEventListener("click", (event) => hold(at(event)));
    canvas.addEventListener("painted", () => shown >= 0 && show(shown));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: g.columns, ArrowUp: -g.columns }[event.key];
      if (event.key === "Escape") { held = -1; hide(); }
      if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
      const next = shown < 0 ? 0 : shown + step;
      if (next >= 0 && next < g.count) { held = next; show(next); }
      event.preventDefault();
      event.stopPropagation();
    });
    canvas.addEventListener("choose", (event) => { held = event.detail; show(held); });
    window.addEventListener("resize", () => shown >= 0 && place(cursor, shown));
    canvas.addEventListener("painted", () => markConstant(figure, place), { once: true });
  };
  // The values behind a channel's first and last colour: without any of its own, its range is the colours' too.
  const readEnds = ({ dataset }) => {
    const pairs = dataset.ends ? dataset.ends.split(" ").map((pair) => pair.split(":")) : [];
    return (channel, row) => pairs[pairs.length > 1 ? channel : 0] ?? [row.min, row.max];
  };
  const paintScale = (scale, middle, [first, last]) => {
    const [low, bar, high] = scale.children;
    low.textContent = pretty(first);
    high.textContent = pretty(last);
    const { colours, signed } = currentPalette();
    const centre = (+first + +last) / 2;
    middle.hidden = !signed || !(+first < +last) || Math.abs(centre) < 1e-3 * (last - first);
    middle.textContent = `The middle colour stands for ${pretty(String(+centre.toPrecision(3)))} here, not for zero.`;
    const line = new ImageData(256, 1);
    for (let i = 0; i < 256; i++) line.data.set([colours[3 * i], colours[3 * i + 1], colours[3 * i + 2], 255], 4 * i);
    bar.getContext("2d").putImageData(line, 0, 0);
  };
  const markConstant = (figure, place) => {
    const pre = document.getElementById(figure.dataset.numbers);
    if (!pre || !pre.textContent.includes("constant")) return;
    const boxes = readNumbers(pre).filter((row) => row.remarks.startsWith("constant")).slice(0, 600).map((row) => {
      const box = figure.appendChild(document.createElement("div"));
      box.className = "mark";
      return [box, +row.channel];
    });
    const settle = () => boxes.forEach(([box, channel]) => place(box, channel));
    settle();
    window.addEventListener("resize", settle);
  };

  // ---- tables ----
  const numberIn = (text) => parseFloat(text.replace("−", "-").replace("< ", "").replace(/[,\s]/g, ""));
  const sortable = (table) => {
    const heads = all("thead th", table);
    heads.forEach((head, column) => {
      if ("fixed" in head.dataset) return;
      head.tabIndex = 0;
      const sort = () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const numeric = head.classList.contains("n");
        const key = (row) => (numeric ? numberIn(row.cells[column].textContent) : row.cells[column].textContent.trim());
        const rows = Array.from(table.tBodies[0].rows, (row) => [key(row), row]);
        const order = (a, b) => (numeric ? (isNaN(a) - isNaN(b)) || a - b : a.localeCompare(b, undefined, { numeric: true }));
        rows.sort((a, b) => (down ? order(b[0], a[0]) : order(a[0], b[0])));
        table.tBodies[0].append(...rows.map((pair) => pair[1]));
      };
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (event) => event.key === "Enter" && sort());
    });
  };
  const filter = (input) => {
    const rows = Array.from(document.getElementById(input.dataset.filters).tBodies[0].rows);
    const output = input.parentElement.querySelector("output");
    let texts = null;
    input.addEventListener("input", () => {
      texts ??= rows.map((row) => all("[title]", row).map((e) => e.title).concat(row.textContent).join(" ").toLowerCase());
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let kept = 0;
      rows.forEach((row, index) => {
        row.hidden = !words.every((word) => texts[index].includes(word));
        kept += !row.hidden;
      });
      output.textContent = words.length ? `${kept} of ${rows.length}` : "";
    });
  };
  // The plain text of a channel table becomes a sortable one when it is first opened.
  const openNumbers = (details) => {
    const pre = details.querySelector("pre");
    if (!details.open || pre.hidden) return;
    const heads = ["channel", "min", "max", "mean", "std", "zeros %", "remarks"];
    const table = document.createElement("table");
    table.className = "sortable";
    const headRow = table.createTHead().insertRow();
    heads.forEach((text) => {
      const head = headRow.appendChild(document.createElement("th"));
      head.textContent = text;
      if (text !== "remarks") head.className = "n";
    });
    const body = table.createTBody();
    const canvas = details.parentElement.querySelector(":scope > .maps .mosaic canvas");
    for (const row of readNumbers(pre)) {
      const line = body.insertRow();
      Object.values(row).forEach((value) => (line.insertCell().textContent = pretty(value)));
      if (row.remarks) line.className = "warn";
      if (canvas) line.addEventListener("click", () => canvas.dispatchEvent(new CustomEvent("choose", { detail: +row.channel })));
    }
    const scroll = document.createElement("div");
    scroll.className = "scroll";
    scroll.append(table);
    pre.hidden = true;
    pre.after(scroll);
    sortable(table);
  };

  // ---- boxes ----
  const boxes = (root) => {
    const overlay = root.querySelector(".overlay"), slider = root.querySelector(".threshold input");
    if (!slider) return;
    const body = root.querySelector(".found tbody"), rows = Array.from(body.rows);
    const shapes = rows.map((row) => all(`g[data-box="${row.dataset.box}"]`, overlay)); // its edges, its label
    const shapesOf = (row) => shapes[row.dataset.box];
    const [level, kept] = [".level", ".kept"].map((name) => root.querySelector(name));
    const visible = () => Array.from(body.rows).filter((row) => !row.hidden);
    const pick = (row) => {
      all(".picked", root).forEach((old) => old.classList.remove("picked"));
      overlay.classList.toggle("picking", !!row);
      if (row) [row, ...shapesOf(row)].forEach((one) => one.classList.add("picked"));
    };
    const focused = () => (body.contains(document.activeElement) ? document.activeElement : null);
    // One row can be reached with Tab, the others from there with the arrow keys.
    const reach = (row) => rows.forEach((other) => (other.tabIndex = other === row ? 0 : -1));
    const update = () => {
      const least = +slider.value;
      for (const row of rows) {
        row.hidden = +row.dataset.score < least;
        shapesOf(row).forEach((shape) => shape.toggleAttribute("hidden", row.hidden));
      }
      const left = visible();
      level.textContent = least.toFixed(2);
      kept.textContent = `${left.length} of ${rows.length} boxes`;
      reach(left[0]);
    };
    const at = (event) => {
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(overlay.getScreenCTM().inverse());
      const under = visible().map((row) => [row, shapesOf(row)[0].getBBox()])
        .filter(([, box]) => place.x >= box.x && place.x <= box.x + box.width && place.y >= box.y && place.y <= box.y + box.height);
      return under.sort(([, a], [, b]) => a.width * a.height - b.width * b.height)[0]?.[0] ?? null;
    };
    slider.addEventListener("input", update);
    overlay.addEventListener("pointermove", (event) => pick(at(event) ?? focused()));
    overlay.addEventListener("pointerleave", () => pick(focused()));
    overlay.addEventListener("click", (event) => at(event)?.focus());
    body.addEventListener("pointerover", (event) => pick(event.target.closest("tr")));
    body.addEventListener("pointerleave", () => pick(focused()));
    body.addEventListener("focusin", (event) => { reach(event.target); pick(event.target); });
    body.addEventListener("focusout", () => pick(null));
    body.addEventListener("keydown", (event) => {
      const left = visible(), here = left.indexOf(event.target);
      const next = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: left.length - 1 }[event.key];
      if (next === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
      left[next]?.focus();
      event.preventDefault();
    });
    update();
  };

  // ---- walking ----
  const theme = (button) => {
    const read = () => { try { return localStorage.getItem("onnxvis-theme"); } catch { return null; } };
    const keep = (name) => { try { localStorage.setItem("onnxvis-theme", name); } catch { /* storage may be off */ } };
    if (["light", "dark"].includes(read())) document.documentElement.dataset.theme = read();
    button.addEventListener("click", () => {
      const now = document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
      keep((document.documentElement.dataset.theme = now === "dark" ? "light" : "dark"));
    });
  };
  const walk = () => {
    const stages = all("[data-stage]");
    const go = (step) => {
      const tops = stages.map((stage) => Math.round(stage.getBoundingClientRect().top) - 20);
      const index = step > 0 ? tops.findIndex((top) => top > 40) : tops.findLastIndex((top) => top < -40);
      if (index >= 0) stages[index].scrollIntoView();
    };
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, textarea")) return;
      if (event.key === "j" || event.key === "ArrowRight") go(1);
      else if (event.key === "k" || event.key === "ArrowLeft") go(-1);
      else if (event.key === "/") document.getElementById("layers-filter").focus();
      else return;
      event.preventDefault();
    });
  };
  const follow = () => {
    const links = new Map(all("nav .links a").map((link) => [link.hash.slice(1), link]));
    const targets = Array.from(links.keys(), (id) => document.getElementById(id)).filter(Boolean);
    let waiting = false;
    const update = () => {
      waiting = false;
      const passed = targets.filter((target) => target.getBoundingClientRect().top < innerHeight / 3);
      const here = (passed.at(-1) ?? targets[0]).id;
      links.forEach((link, id) => link.classList.toggle("here", id === here));
    };
    addEventListener("scroll", () => { if (!waiting) { waiting = true; requestAnimationFrame(update); } }, { passive: true });
    update();
  };

  document.addEventListener("DOMContentLoaded", () => {
    const canvases = all("canvas[data-sprite]");
    const near = new IntersectionObserver(
      (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => { fit(entry.target); paint(entry.target); }),
      { rootMargin: "600px" },
    );
    addEventListener("resize", () => canvases.forEach(fit));
    canvases.forEach((canvas) => { fit(canvas); inspect(canvas.parentElement); near.observe(canvas); });
    document.getElementById("colormap")?.addEventListener("change", () => canvases.filter((c) => c.dataset.wanted).forEach(paint));
    all("details.numbers").forEach((details) => details.addEventListener("toggle", () => openNumbers(details)));
    all("table.sortable").forEach(sortable);
    all("input[data-filters]").forEach(filter);
    all("[data-found]").forEach(boxes);
    theme(document.getElementById("theme"));
    walk();
    follow();
  });
})();
