local t = require("harness")
local ploke = require("ploke")

--- An edit of `a.txt`, "one" to "two".
local function edit(root, hash)
  return {
    documentChanges = {
      {
        textDocument = { uri = vim.uri_from_fname(root .. "/a.txt") },
        expected = { contentHash = hash },
        edits = { { range = { startByte = 0, endByte = 3 }, newText = "two" } },
      },
    },
  }
end

local function read_whole(root)
  return t.call("snippets", { snippets = { { uri = vim.uri_from_fname(root .. "/a.txt") } } }).snippets[1]
end

t.test("a snippet is read with its hash", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  local snippet = read_whole(root)
  t.equal(snippet.text, "one\n", "text")
  t.equal(#snippet.contentHash, 64, "length of the hash")
end)

t.test("a scan tells changed from unchanged", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  local uri, hash = vim.uri_from_fname(root .. "/a.txt"), read_whole(root).contentHash
  local function status()
    return t.call("scan", { files = { { uri = uri, expected = { contentHash = hash } } } }).files[1].status
  end
  t.equal(status(), "unchanged", "before")
  t.write(root .. "/a.txt", "two\n")
  t.equal(status(), "changed", "after")
end)

t.test("an edit is applied and taken back", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  local result = t.call("apply_edits", edit(root, read_whole(root).contentHash))
  t.equal(result.applied, true, "applied")
  t.equal(t.read(root .. "/a.txt"), "two\n", "on disk")
  t.equal(ploke.origins(root), { result.origin }, "origins")
  t.equal(t.call("undo", { origin = result.origin }).applied, true, "undone")
  t.equal(t.read(root .. "/a.txt"), "one\n", "on disk")
  t.equal(ploke.origins(root), {}, "origins")
end)

t.test("an edit of a file that has changed is refused", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  local hash = read_whole(root).contentHash
  t.write(root .. "/a.txt", "1ne\n")
  local result = t.call("apply_edits", edit(root, hash))
  t.equal(result.applied, false, "applied")
  t.equal(result.files[1].error.kind, "contentMismatch", "kind")
  t.equal(t.read(root .. "/a.txt"), "1ne\n", "on disk")
end)

t.test("a request that fails as a whole gives an error with its data", function()
  t.project({ ["a.txt"] = "one\n" })
  local result, err = t.call("undo", { origin = "99999999-2222-4333-8444-555555555555" })
  t.equal(result, nil, "result")
  t.equal(err.code, -32803, "code")
  t.equal(err.data.kind, "notFound", "kind")
  t.equal(tostring(err), err.message, "as a string")
end)

t.test("params of the wrong shape are an error that names the field", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  local params = edit(root, ("0"):rep(64))
  params.dryrun = true
  local _, err = t.call("apply_edits", params)
  t.equal(err.code, -32602, "code")
  t.check(err.message:find("dryrun", 1, true), "the message does not name the field: " .. err.message)
end)

t.test("in a coroutine a call returns its result", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  local uri = vim.uri_from_fname(root .. "/a.txt")
  local seen
  coroutine.wrap(function()
    local read = assert(ploke.snippets({ snippets = { { uri = uri } } })).snippets[1]
    local applied = assert(ploke.apply_edits(edit(root, read.contentHash)))
    local undone = assert(ploke.undo({ origin = applied.origin }, { root = root }))
    local scanned = assert(ploke.scan({ files = { { uri = uri, expected = { contentHash = read.contentHash } } } }))
    local status = assert(ploke.status())
    local nothing, err = ploke.undo({ origin = "99999999-2222-4333-8444-555555555555" })
    seen = { read.text, applied.applied, undone.applied, scanned.files[1].status, status.roots, nothing, err.code }
  end)()
  t.wait("the coroutine", function()
    return seen
  end)
  t.equal(seen, { "one\n", true, true, "unchanged", { vim.uri_from_fname(root) }, nil, -32803 }, "results")
end)

t.test("outside a coroutine a call without a callback says so", function()
  t.project({})
  local fine, message = pcall(ploke.status)
  t.equal(fine, false, "raised")
  t.check(message:find("coroutine", 1, true), message)
end)

t.test("a project can be named", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  vim.cmd.cd("/")
  t.equal(t.call("status", { root = root }).roots, { vim.uri_from_fname(root) }, "roots")
end)

t.test("a cancelled request is answered once", function()
  local root = t.project({ ["slow.rs"] = ("fn f() { g(1, 2, 3) }\n"):rep(20000) })
  t.server(root)
  local uri = vim.uri_from_fname(root .. "/slow.rs")
  local expected = { trackingHash = "11111111-2222-5333-8444-555555555555" }
  local answers = {}
  local cancel = ploke.scan({ files = { { uri = uri, expected = expected } } }, function(err, result)
    table.insert(answers, err and err.code or result)
  end)
  cancel()
  t.wait("the answer", function()
    return #answers > 0
  end)
  cancel()
  t.call("status")
  t.equal(answers, { -32800 }, "answers")
end)

t.test("a request that is cancelled before the server runs is not sent", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  local answers = {}
  local cancel = ploke.apply_edits({ unguarded = true, documentChanges = edit(root).documentChanges }, function(err)
    table.insert(answers, err and err.code)
  end)
  cancel()
  t.call("status")
  t.equal(answers, { -32800 }, "answers")
  t.equal(t.read(root .. "/a.txt"), "one\n", "on disk")
end)

t.test("a method that the program lacks is an error that says to update", function()
  local root = t.project({})
  local server = t.server(root)
  server.capabilities.methods = {}
  local _, err = t.call("status")
  t.check(err.message:find("update", 1, true), err.message)
end)

t.test("a sync answers when earlier changes have been told", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  t.needs_method(root, "ploke/sync")
  local told
  vim.api.nvim_create_autocmd("User", {
    pattern = "PlokeFileChanged",
    once = true,
    callback = function(event)
      told = event.data.uri
    end,
  })
  t.call("sync")
  t.write(root .. "/a.txt", "two\n")
  t.check(t.call("sync").seq > 0, "no sequence number")
  t.equal(told, vim.uri_from_fname(root .. "/a.txt"), "told before the answer")
end)

t.test("changes since a clock value are told", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  t.needs_method(root, "ploke/changes")
  t.call("sync")
  local clock = t.call("changes", {}).clock
  t.write(root .. "/a.txt", "two, longer\n")
  t.call("sync")
  local changes = t.call("changes", { since = clock }).changes
  t.equal(#changes, 1, "number of changes")
  t.equal(changes[1].uri, vim.uri_from_fname(root .. "/a.txt"), "uri")
end)

t.run_all()
