// Draws images/icon.png from images/icon.svg: the marketplace takes no SVG.
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const images = fileURLToPath(new URL("../images/", import.meta.url));
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
const page = await browser.newPage({ viewport: { width: 128, height: 128 } });
await page.goto(`file://${images}icon.svg`);
await page.screenshot({ path: `${images}icon.png`, omitBackground: true });
await browser.close();
