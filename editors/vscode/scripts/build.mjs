// Bundles the extension into dist/, or with --tests the unit tests into out/test/.
import { readdirSync } from "node:fs";
import * as esbuild from "esbuild";

const has = (flag) => process.argv.includes(flag);

const shared = { bundle: true, platform: "node", target: "node20", format: "cjs", logLevel: "warning" };
const extension = {
  ...shared,
  entryPoints: ["src/extension.ts"],
  outfile: "dist/extension.js",
  external: ["vscode"],
  minify: has("--production"),
  sourcemap: !has("--production"),
};
const tests = {
  ...shared,
  entryPoints: readdirSync("test/unit").filter((name) => name.endsWith(".test.ts")).map((name) => `test/unit/${name}`),
  outdir: "out/test",
  sourcemap: "inline",
};

if (has("--watch")) {
  await (await esbuild.context(extension)).watch();
} else {
  await esbuild.build(has("--tests") ? tests : extension);
}
