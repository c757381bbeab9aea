// Uses the page as a reader would, and returns what it saw.
(async () => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const find = (selector) => document.querySelector(selector);
  const until = async (ready) => { while (!ready()) await wait(30); };
  const seen = {};
  const canvas = find("canvas[data-sprite]");
  const press = (target, key) => target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  document.documentElement.style.scrollBehavior = "auto";
  document.documentElement.style.scrollBehavior = "auto";
  canvas.scrollIntoView();
  await until(() => canvas.matches(".painted"));
  press(canvas, "ArrowRight"); press(canvas, "ArrowRight"); press(canvas, "ArrowRight");
  seen.channel = find(".inspector .channel").textContent;
  seen.numbers = find(".inspector dl").textContent;
  const dead = () => {
    const copy = document.createElement("canvas");
    const x = Math.floor((canvas.width / find("figure.mosaic").dataset.columns) * 1.5);
    copy.getContext("2d").drawImage(canvas, -x, -3);
    return Array.from(copy.getContext("2d").getImageData(0, 0, 1, 1).data);
  };
  seen.before = dead();
  const colours = find("#colormap");
  colours.value = "magma"; colours.dispatchEvent(new Event("change"));
  await until(() => String(dead()) !== String(seen.before));
  seen.after = dead();
  const head = (label) => Array.from(document.querySelectorAll("#weights-table th")).find((h) => h.textContent === label);
  const column = (index) => Array.from(document.querySelectorAll("#weights-table tbody tr"), (r) => r.cells[index].textContent);
  head("Min").click(); seen.up = column(6); head("Min").click(); seen.down = column(6);
  const filter = find("#layers-filter");
  filter.value = "layer2 conv"; filter.dispatchEvent(new Event("input"));
  seen.kept = Array.from(document.querySelectorAll("#layers-table tbody tr:not([hidden])"), (r) => r.textContent);
  seen.said = filter.parentElement.querySelector("output").textContent;
  const numbers = find("details.numbers"); numbers.open = true;
  await until(() => numbers.querySelector("tbody"));
  seen.rows = numbers.querySelectorAll("tbody tr").length;
  scrollTo(0, 0); press(document.body, "j"); seen.first = Math.round(find("#i1-s1").getBoundingClientRect().top);
  press(document.body, "j"); seen.second = Math.round(find("#i1-s2").getBoundingClientRect().top);
  press(document.body, "k"); seen.back = Math.round(find("#i1-s1").getBoundingClientRect().top);
  find("#theme").click(); seen.theme = document.documentElement.dataset.theme;
  return seen;
})()
