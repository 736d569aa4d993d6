local t = require("harness")

local function apply_params(root, text, extra)
  local params = {
    documentChanges = {
      {
        textDocument = { uri = vim.uri_from_fname(root .. "/a.txt") },
        edits = { { expectedText = "one", newText = text } },
      },
    },
  }
  return vim.json.encode(vim.tbl_extend("force", params, extra or {}))
end

local function preview(root, extra)
  t.server(root)
  vim.fn.setreg('"', apply_params(root, "two", extra))
  vim.cmd("Ploke apply")
  t.wait("the preview", t.float)
end

t.test("nothing of the plugin is loaded before it is needed", function()
  local out = vim
    .system({
      vim.v.progpath,
      "--clean",
      "--headless",
      "--cmd",
      "set rtp^=" .. vim.env.PLOKE_PLUGIN,
      "-c",
      [[lua for name in pairs(package.loaded) do if name:find("^ploke") then print(name) end end]],
      "-c",
      [[lua print(vim.fn.exists(":Ploke"))]],
      "-c",
      "qall",
    })
    :wait()
  t.equal(vim.trim(out.stderr), "2", "loaded modules, and whether the command is there")
end)

t.test("subcommands, files and origins are completed", function()
  local root = t.project({ ["edits.json"] = "{}" })
  t.equal(vim.fn.getcompletion("Ploke s", "cmdline"), { "scan", "snippet", "status" }, "s")
  local all = { "apply", "changes", "log", "restart", "scan", "snippet", "status", "undo" }
  t.equal(vim.fn.getcompletion("Ploke ", "cmdline"), all, "all")
  t.equal(vim.fn.getcompletion("Ploke apply ed", "cmdline"), { "edits.json" }, "files")
  local origin = "11111111-2222-4333-8444-555555555555"
  local create = { kind = "create", uri = vim.uri_from_fname(root .. "/new.txt") }
  t.call("apply_edits", { origin = origin, documentChanges = { create } })
  t.equal(vim.fn.getcompletion("Ploke undo ", "cmdline"), { origin }, "origins")
  t.equal(vim.fn.getcompletion("Ploke scan ", "cmdline"), {}, "nothing to complete")
end)

t.test("the help has a tag for every subcommand and names every setting", function()
  local help = t.read(vim.env.PLOKE_PLUGIN .. "/doc/ploke.txt")
  for _, name in ipairs(require("ploke.commands").names()) do
    t.check(help:find("*:Ploke-" .. name .. "*", 1, true), "no tag for " .. name)
  end
  for name in pairs(require("ploke.config").get()) do
    t.check(help:find("\n      " .. name .. " = ", 1, true), "the setting is not there: " .. name)
  end
end)

t.test("an unknown subcommand names the known ones", function()
  t.project({})
  vim.cmd("Ploke explode")
  t.wait_message("Try :Ploke apply, changes, log")
end)

t.test("status shows the server and the watcher in a window that q closes", function()
  local root = t.project({})
  t.watching(root)
  vim.cmd("Ploke status")
  t.wait("the window", t.float)
  for _, text in ipairs({ vim.fs.basename(root), "ploke-io 0.", "watching  watching", "ploke/status" }) do
    t.check(t.float():find(text, 1, true), text .. " is missing in:\n" .. t.float())
  end
  t.press("q")
  t.equal(t.float(), nil, "window")
end)

t.test("a scan remembers, the next one lists what has changed", function()
  local root = t.project({ ["a.txt"] = "one\n", ["b.txt"] = "two\n", ["sub/c.txt"] = "three\n" })
  vim.cmd("Ploke scan")
  t.wait_message("3 files are remembered")
  vim.cmd("Ploke scan")
  t.wait_message("3 files looked at, 0 have changed")
  t.write(root .. "/a.txt", "changed\n")
  t.write(root .. "/sub/d.txt", "new\n")
  vim.uv.fs_unlink(root .. "/b.txt")
  vim.cmd("Ploke scan")
  t.wait_message("3 have changed")
  local seen = {}
  for _, item in ipairs(vim.fn.getqflist()) do
    seen[vim.fn.fnamemodify(vim.api.nvim_buf_get_name(item.bufnr), ":t")] = item.text
  end
  t.equal(seen, { ["a.txt"] = "changed", ["b.txt"] = "missing", ["d.txt"] = "new" }, "quickfix list")
end)

t.test("a scan of many files goes on in steps", function()
  local files = {}
  for index = 1, 1100 do
    files[index .. ".txt"] = "text\n"
  end
  t.project(files)
  vim.cmd("Ploke scan")
  t.wait_message("1100 files are remembered")
  t.check(t.has_message("scanned 500 of 1100 files"), "no progress was told")
end)

t.test("in a git repository a scan leaves out what git ignores", function()
  if vim.fn.executable("git") == 0 then
    t.skip("there is no git")
  end
  local root = t.project({ ["a.txt"] = "one\n", ["ignored.txt"] = "two\n", [".gitignore"] = "ignored.txt\n" })
  t.equal(vim.system({ "git", "init", "-q", root }):wait().code, 0, "git init")
  vim.cmd("Ploke scan")
  t.wait_message("2 files are remembered")
end)

t.test("a snippet command copies a reference that the server takes as it is", function()
  t.project({ ["a.txt"] = "one\ntwo\nthree\n" })
  vim.cmd.edit("a.txt")
  vim.cmd("2,3Ploke snippet r")
  t.wait_message("a.txt:2-3 is in register r")
  local reference = vim.json.decode(vim.fn.getreg("r"))
  t.equal(reference.range, { startByte = 4, endByte = 13 }, "range")
  t.equal(t.call("snippets", { snippets = { reference } }).snippets[1].text, "two\nthree", "text")
  vim.cmd("Ploke snippet")
  t.wait_message('is in register "')
  t.equal(vim.json.decode(vim.fn.getreg('"')).range, { startByte = 0, endByte = 14 }, "the whole file")
end)

t.test("a snippet of a buffer without a file is refused", function()
  t.project({})
  vim.cmd("Ploke snippet")
  t.wait_message("this buffer has no file")
end)

t.test("a snippet of a dirty buffer says which text it refers to", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  vim.cmd.edit("a.txt")
  t.server(root)
  t.type_line(1, "unsaved")
  vim.cmd("Ploke snippet r")
  t.wait_message("is in register r")
  local reference = vim.json.decode(vim.fn.getreg("r"))
  if t.server(root).capabilities.openBuffers then
    t.equal(reference.range.endByte, 8, "length of the buffer's text")
  else
    t.wait_message("without the unsaved changes")
    t.equal(reference.range.endByte, 4, "length of the file")
  end
end)

t.test("edits are shown as a diff, and applied after y", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  preview(root)
  t.check(t.float():find("-one\n+two", 1, true), t.float())
  t.equal(vim.bo.filetype, "diff", "filetype of the preview")
  t.equal(t.read(root .. "/a.txt"), "one\n", "on disk before the answer")
  t.press("y")
  t.wait_message("1 file changed")
  t.equal(t.read(root .. "/a.txt"), "two\n", "on disk")
  t.equal(t.float(), nil, "window")
  vim.cmd("Ploke undo")
  t.wait_message("1 file put back")
  t.equal(t.read(root .. "/a.txt"), "one\n", "on disk")
end)

for _, keys in ipairs({ "n", "q", "<Esc>", "<C-w>p" }) do
  t.test("edits are not applied after " .. keys, function()
    local root = t.project({ ["a.txt"] = "one\n" })
    preview(root)
    t.press(keys)
    t.wait_message("nothing was changed")
    t.equal(t.read(root .. "/a.txt"), "one\n", "on disk")
    t.equal(t.float(), nil, "window")
  end)
end

t.test("exactly what was shown is applied, or nothing", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  preview(root)
  t.write(root .. "/a.txt", "one, or more\n")
  t.press("y")
  t.wait_message("a.txt: the file is not the one expected")
  t.equal(t.read(root .. "/a.txt"), "one, or more\n", "on disk")
end)

t.test("edits come from a JSON file, too", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  t.write(root .. "/edits.json", apply_params(root, "2", { label = "shorter" }))
  vim.cmd("Ploke apply edits.json")
  t.wait("the preview", t.float)
  t.press("y")
  t.wait_message("1 file changed")
  t.equal(t.read(root .. "/a.txt"), "2\n", "on disk")
end)

t.test("edits that can not be applied are told without a preview", function()
  local root = t.project({ ["a.txt"] = "1\n" })
  t.write(root .. "/edits.json", apply_params(root, "2"))
  vim.cmd("Ploke apply edits.json")
  t.wait_message("a.txt")
  t.equal(t.float(), nil, "window")
end)

t.test("edits that change nothing are told so", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  t.write(root .. "/edits.json", apply_params(root, "one"))
  vim.cmd("Ploke apply edits.json")
  t.wait_message("would change nothing")
end)

t.test("what is no JSON object, or no file, is told", function()
  local root = t.project({})
  t.write(root .. "/list.json", "[1]")
  vim.cmd("Ploke apply list.json")
  t.wait_message("list.json does not hold a JSON object")
  vim.cmd("Ploke apply gone.json")
  t.wait_message("No such file")
end)

t.test("an undo without anything to take back is told", function()
  t.project({})
  vim.cmd("Ploke undo")
  t.wait_message("nothing was applied from here")
end)

t.test("an edit that has changed nothing is not offered to be undone", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  local result = t.call("apply_edits", vim.json.decode(apply_params(root, "one")))
  t.equal({ result.applied, result.files[1].status }, { true, "unchanged" }, "result")
  t.equal(require("ploke").origins(root), {}, "origins")
end)

t.test("an undo takes back what has one, not what was applied after it without one", function()
  require("ploke").setup({ init_options = { undo = { keepBytes = 2000 } } })
  local root = t.project({ ["a.txt"] = "one\n", ["long.txt"] = ("long"):rep(1000) })
  preview(root)
  t.press("y")
  t.wait_message("1 file changed; :Ploke undo takes it back")
  local change = {
    textDocument = { uri = vim.uri_from_fname(root .. "/long.txt") },
    edits = { { expectedText = ("long"):rep(1000), newText = "short" } },
  }
  t.equal(t.call("apply_edits", { documentChanges = { change } }).applied, true, "applied")
  vim.cmd("Ploke undo")
  t.wait_message("1 file put back")
  t.equal(t.read(root .. "/a.txt"), "one\n", "on disk")
end)

t.test("an undo of a file that has changed meanwhile is refused", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  preview(root)
  t.press("y")
  t.wait_message("1 file changed")
  t.write(root .. "/a.txt", "three\n")
  vim.cmd("Ploke undo")
  t.wait_message("a.txt: the file is not")
  t.equal(t.read(root .. "/a.txt"), "three\n", "on disk")
end)

t.test("changes are listed with their authors, the newest first", function()
  local root = t.project({ ["a.txt"] = "one\n", ["b.txt"] = "one\n" })
  t.watching(root)
  vim.cmd("Ploke changes")
  t.wait_message("no file has changed")
  preview(root)
  t.press("y")
  t.wait_message("1 file changed")
  local told
  vim.api.nvim_create_autocmd("User", {
    pattern = "PlokeFileChanged",
    once = true,
    callback = function()
      told = true
    end,
  })
  t.write(root .. "/b.txt", "outside\n")
  t.wait("the change", function()
    return told
  end)
  vim.cmd("Ploke changes")
  local lines = vim.tbl_map(function(item)
    local name = vim.fn.fnamemodify(vim.api.nvim_buf_get_name(item.bufnr), ":t")
    return name .. " " .. item.text:gsub("^[%d:]+ ", ""):gsub("request %d+", "request N")
  end, vim.fn.getqflist())
  t.equal(
    lines,
    { "b.txt modified from outside", "a.txt modified by request N of this Neovim" },
    "lines of the quickfix list"
  )
  t.equal(vim.bo.buftype, "quickfix", "the window that is open")
end)

t.test("the log opens at its end, and can not be changed by accident", function()
  local root = t.project({})
  t.server(root)
  vim.cmd("Ploke log")
  t.check(vim.startswith(vim.api.nvim_buf_get_name(0), vim.env.XDG_STATE_HOME .. "/ploke-io/log/"), "not the log")
  t.equal(vim.bo.modifiable, false, "modifiable")
  t.check(vim.fn.line("$") > 1, "the log is empty")
  t.equal(vim.fn.line("."), vim.fn.line("$"), "line of the cursor")
end)

t.test("without a log its directory is told", function()
  t.project({})
  require("ploke").setup({ init_options = { log = { dir = "/no/such/directory" } } })
  vim.cmd("Ploke log")
  t.wait_message("no log in /no/such/directory")
end)

t.run_all()
