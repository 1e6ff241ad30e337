// Looks at the admin pages with a real browser: as they are drawn, wide and narrow, light and dark;
// whether axe-core finds them accessible; whether they say the same without scripts; whether words
// of a hostile server stay words; and whether another origin can act through a session.
//
// node check.mjs URL TOKEN FOLDER: screenshots go to FOLDER.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [base, token, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const faults = [];
const fault = (words) => { faults.push(words); console.error(words); };

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

const snapshot = await (await fetch(`${base}/snapshot`)).json();
const orders = snapshot.channels.find((one) => one.name === "orders");
const strange = snapshot.channels.find((one) => one.name.startsWith("<script>"));
const pages = {
  overview: "/", channel: `/channel/${orders.id}`, strange: `/channel/${strange.id}`,
  calls: "/calls", events: "/events?channel=orders", config: "/config", help: "/help",
  login: "/login",
};

async function open(path, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("dialog", (dialog) => { fault(`${path}: a dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("pageerror", (error) => fault(`${path}: ${error}`));
  page.on("console", (line) => {
    if (line.type() === "error") fault(`${path}: the console says: ${line.text()}`);
  });
  const answer = await page.goto(base + path, { waitUntil: "load" });
  if (answer.status() !== 200) fault(`${path}: ${answer.status()}`);
  return page;
}

let looked = 0;
for (const [name, path] of Object.entries(pages)) {
  for (const width of [1280, 400]) {
    for (const colorScheme of ["light", "dark"]) {
      const viewport = { width, height: width === 400 ? 800 : 900 };
      const page = await open(path, { viewport, colorScheme, bypassCSP: true });
      const over = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
      if (over > 0) fault(`${path} at ${width}: ${over} pixels stand out to the right`);
      await page.screenshot({ path: `${folder}/${name}-${width}-${colorScheme}.png` });
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => axe.run());
      for (const one of violations.filter((one) => ["serious", "critical"].includes(one.impact))) {
        const where = one.nodes.slice(0, 3).map((node) => node.html).join(" | ");
        fault(`${path} at ${width}, ${colorScheme}: ${one.id}: ${one.help}: ${where}`);
      }
      looked += 1;
      await page.context().close();
    }
  }
}

// Without scripts the same text; what changes with time is compared by its headings.
for (const [name, path] of Object.entries(pages)) {
  const texts = [];
  for (const javaScriptEnabled of [true, false]) {
    const page = await open(path, { javaScriptEnabled });
    const parts = ["config", "help", "login"].includes(name) ? "main" : "h1, h2, thead";
    texts.push((await page.locator(parts).allInnerTexts()).join("\n")
      .replace(/(READY|TRANSIENT_FAILURE|CONNECTING|IDLE).*/g, "").replace(/Open: \d+/g, "Open"));
    await page.context().close();
  }
  if (texts[0] !== texts[1]) fault(`${path}: without scripts it says something else:\n${texts.join("\n---\n")}`);
}

// What is live is drawn anew: the time it is as of goes on.
{
  const page = await open("/", {});
  const time = () => page.locator("footer time").innerText();
  const before = await time();
  await page.waitForFunction((before) => document.querySelector("footer time").innerText !== before,
    before, { timeout: 15000 }).catch(() => fault("/: it was not drawn anew within 15 s"));
  await page.context().close();
}

// With a session the buttons work from these pages, and from no others.
{
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${base}/login`);
  await page.fill("input[name=token]", token);
  await page.click("button");
  if (new URL(page.url()).pathname !== "/") fault(`the login led to ${page.url()}`);
  await page.goto(`${base}/channel/${orders.id}`);
  const [done] = await Promise.all([
    page.waitForResponse((answer) => answer.request().method() === "POST"),
    page.click("button"),
  ]);
  if (done.status() !== 303) fault(`the button was answered with ${done.status()}`);

  const form = `<form method=post action="${base}/channel/${orders.id}/reconnect"><button>go</button></form>`;
  const other = createServer((_, answer) => {
    answer.setHeader("content-type", "text/html");
    answer.end(form);
  });
  await new Promise((listens) => other.listen(0, "127.0.0.1", listens));
  for (const host of ["127.0.0.1", "localhost"]) {
    const elsewhere = await context.newPage();
    await elsewhere.goto(`http://${host}:${other.address().port}/`);
    const [refused] = await Promise.all([
      elsewhere.waitForResponse((answer) => answer.request().method() === "POST"),
      elsewhere.click("button"),
    ]);
    if (refused.status() !== 403) fault(`another origin, ${host}, was answered with ${refused.status()}`);
  }
  other.close();
  await context.close();
}

await browser.close();
console.log(`${looked} pages were looked at; ${faults.length} faults`);
process.exit(faults.length === 0 ? 0 : 1);
