// Fails if a Lua file of the plugin is not formatted; with --write it formats them.
const fs = require("node:fs");
const path = require("node:path");
const { formatCode, Config, IndentType, LuaVersion, OutputVerification } = require("@johnnymorganz/stylua");

// The same as .stylua.toml, which this build of stylua does not read.
function configuration() {
  const config = Config.new();
  config.column_width = 120;
  config.indent_type = IndentType.Spaces;
  config.indent_width = 2;
  config.syntax = LuaVersion.LuaJIT;
  return config;
}

const root = path.dirname(__dirname);
const files = fs.readdirSync(root, { recursive: true }).filter((name) => name.endsWith(".lua"));
let wrong = 0;
for (const name of files) {
  const file = path.join(root, name);
  const text = fs.readFileSync(file, "utf8");
  const formatted = formatCode(text, configuration(), undefined, OutputVerification.Full);
  if (formatted !== text) {
    if (process.argv.includes("--write")) {
      fs.writeFileSync(file, formatted);
    } else {
      console.error(`${name} is not formatted: node tests/stylua.cjs --write`);
      wrong += 1;
    }
  }
}
process.exit(files.length > 0 && wrong === 0 ? 0 : 1);
