local t = require("harness")

--- Changes that were told by autocommand since the last call.
local function follow()
  local changes = {}
  vim.api.nvim_create_autocmd("User", {
    group = vim.api.nvim_create_augroup("test.follow", {}),
    pattern = "PlokeFileChanged",
    callback = function(event)
      table.insert(changes, event.data)
    end,
  })
  return changes
end

local function lines(buffer)
  return vim.api.nvim_buf_get_lines(buffer or 0, 0, -1, false)
end

--- Opens a.txt in a project that is watched.
local function open(files)
  local root = t.project(files or { ["a.txt"] = "one\n" })
  vim.cmd.edit("a.txt")
  t.watching(root)
  t.wait("the attachment", function()
    return #vim.lsp.get_clients({ bufnr = 0, name = "ploke" }) == 1
  end)
  return root
end

--- Edits "one" of a.txt to "two", guarded by what the server reads, or by what is given.
local function edit(root, expected)
  local uri = vim.uri_from_fname(root .. "/a.txt")
  expected = expected or { contentHash = t.call("snippets", { snippets = { { uri = uri } } }).snippets[1].contentHash }
  local change = {
    textDocument = { uri = uri },
    expected = expected,
    edits = { { expectedText = "one", newText = "two" } },
  }
  return t.call("apply_edits", { documentChanges = { change } }), uri
end

-- Stands first, for it is the first file that loads the plugin.
t.test("the first file of a session is told when it is deleted", function()
  t.equal(package.loaded["ploke.files"], nil, "loaded before")
  local root = open()
  vim.uv.fs_unlink(root .. "/a.txt")
  t.wait_message("a.txt is gone from disk")
end)

t.test("a change from outside is told with its data", function()
  local root = open()
  local changes = follow()
  t.write(root .. "/a.txt", "outside\n")
  t.wait("the change", function()
    return #changes > 0
  end)
  t.equal(changes[1].uri, vim.uri_from_fname(root .. "/a.txt"), "uri")
  t.equal(changes[1].kind, "modified", "kind")
  t.equal(#changes[1].contentHash, 64, "length of the hash")
  t.equal(changes[1].requestId, nil, "request")
end)

t.test("an own edit is told with its request", function()
  local root = open()
  local changes = follow()
  local result = edit(root)
  t.equal(#changes, 1, "changes told before the answer")
  t.equal(changes[1].origin, result.origin, "origin")
  t.equal(type(changes[1].requestId), "number", "type of the request's id")
end)

t.test("an unmodified buffer is reloaded", function()
  local root = open()
  t.write(root .. "/a.txt", "outside\n")
  t.wait("the reload", function()
    return vim.deep_equal(lines(), { "outside" })
  end)
  t.equal(vim.bo.modified, false, "modified")
end)

t.test("an unmodified buffer that is not shown is reloaded", function()
  local root = open({ ["a.txt"] = "one\n", ["b.txt"] = "other\n" })
  local buffer = vim.api.nvim_get_current_buf()
  vim.cmd.edit("b.txt")
  edit(root)
  t.wait("the reload", function()
    return vim.deep_equal(lines(buffer), { "two" })
  end)
end)

t.test("an unmodified buffer of a link is reloaded", function()
  local root = t.project({ ["a.txt"] = "one\n" })
  vim.uv.fs_symlink("a.txt", root .. "/link.txt")
  vim.cmd.edit("link.txt")
  t.watching(root)
  t.write(root .. "/a.txt", "outside\n")
  t.wait("the reload", function()
    return vim.deep_equal(lines(), { "outside" })
  end)
end)

t.test("with refresh turned off nothing is reloaded", function()
  require("ploke").setup({ refresh = false })
  local root = open()
  local changes = follow()
  t.write(root .. "/a.txt", "outside\n")
  t.wait("the change", function()
    return #changes > 0
  end)
  t.equal(lines(), { "one" }, "buffer")
end)

t.test("a buffer with unsaved changes is left, with a notice", function()
  local root = open()
  t.type_line(1, "unsaved")
  local changes = follow()
  t.write(root .. "/a.txt", "outside\n")
  t.wait_message("a.txt has changed on disk, its buffer has unsaved changes")
  t.equal(#changes, 1, "changes")
  t.equal(lines(), { "unsaved" }, "buffer")
  t.equal(vim.bo.modified, true, "modified")
end)

t.test("a buffer that is written and changed again at once is no matter for a notice", function()
  local root = open({ ["a.txt"] = "one\n", ["b.txt"] = "other\n" })
  local changes = follow()
  t.type_line(1, "saved")
  vim.cmd("silent write")
  t.type_line(1, "unsaved")
  t.write(root .. "/b.txt", "outside\n")
  t.wait("both changes", function()
    return #changes >= 2
  end)
  t.check(not t.has_message("has changed on disk"), "an own write was told as a change from outside")
  t.equal(lines(), { "unsaved" }, "buffer")
end)

t.test("a deleted file is told, and its buffer kept", function()
  local root = open()
  vim.uv.fs_unlink(root .. "/a.txt")
  t.wait_message("a.txt is gone from disk")
  t.equal(lines(), { "one" }, "buffer")
end)

t.test("a deleted directory is told for the buffers below it", function()
  local root = open({ ["a.txt"] = "one\n", ["sub/b.txt"] = "two\n" })
  vim.cmd.edit("sub/b.txt")
  vim.fn.delete(root .. "/sub", "rf")
  t.wait_message("sub/b.txt is gone from disk")
  t.equal(lines(), { "two" }, "buffer")
end)

t.test("a renamed file's buffer is told", function()
  local root = open()
  local changes = follow()
  t.check(vim.uv.fs_rename(root .. "/a.txt", root .. "/b.txt"), "rename")
  t.wait_message("a.txt is gone from disk")
  t.wait("the change", function()
    return #changes > 0
  end)
end)

t.test("an edit of a clean buffer is written, and the buffer follows", function()
  local root = open()
  local result = edit(root)
  t.equal(result.applied, true, "applied")
  t.equal(t.read(root .. "/a.txt"), "two\n", "on disk")
  t.wait("the reload", function()
    return vim.deep_equal(lines(), { "two" })
  end)
end)

t.test("a snippet is of the buffer's text", function()
  local root = open()
  t.needs_open_buffers(root)
  t.type_line(1, "unsaved")
  local uri = vim.uri_from_fname(root .. "/a.txt")
  local snippet = t.call("snippets", { snippets = { { uri = uri } } }).snippets[1]
  t.equal({ snippet.text, snippet.source }, { "unsaved\n", "buffer" }, "by default")
  t.equal(snippet.version, vim.lsp.util.buf_versions[vim.api.nvim_get_current_buf()], "version")
  snippet = t.call("snippets", { snippets = { { uri = uri, source = "disk" } } }).snippets[1]
  t.equal({ snippet.text, snippet.source }, { "one\n", "disk" }, "when asked for the disk")
end)

t.test("an edit of a dirty buffer arrives in the buffer, not on disk", function()
  local root = open({ ["a.txt"] = "one\nmore\n" })
  t.needs_open_buffers(root)
  t.type_line(2, "unsaved")
  local result = edit(root)
  t.equal(result.applied, true, "applied: " .. vim.inspect(result))
  t.equal(result.files[1].appliedTo, "buffer", "applied to")
  t.equal(lines(), { "two", "unsaved" }, "buffer")
  t.equal(vim.bo.modified, true, "modified")
  t.equal(t.read(root .. "/a.txt"), "one\nmore\n", "on disk")
end)

t.test("an edit that was meant for the disk's text of a dirty buffer is refused", function()
  local root = open({ ["a.txt"] = "one\nmore\n" })
  t.needs_open_buffers(root)
  local uri = vim.uri_from_fname(root .. "/a.txt")
  local hash = t.call("snippets", { snippets = { { uri = uri } } }).snippets[1].contentHash
  t.type_line(2, "unsaved")
  local result = edit(root, { contentHash = hash })
  t.equal(result.applied, false, "applied")
  t.check(
    vim.list_contains({ "documentDirty", "contentMismatch" }, result.files[1].error.kind),
    "kind: " .. result.files[1].error.kind
  )
  t.equal(lines(), { "one", "unsaved" }, "buffer")
  t.equal(t.read(root .. "/a.txt"), "one\nmore\n", "on disk")
end)

t.test("a command's edit of a dirty buffer is shown and arrives in the buffer", function()
  local root = open({ ["a.txt"] = "one\nmore\n" })
  t.needs_open_buffers(root)
  t.type_line(2, "unsaved")
  local change = {
    textDocument = { uri = vim.uri_from_bufnr(0) },
    edits = { { expectedText = "unsaved", newText = "edited" } },
  }
  vim.fn.setreg('"', vim.json.encode({ documentChanges = { change } }))
  vim.cmd("Ploke apply")
  t.wait("the preview", t.float)
  t.check(t.float():find("-unsaved\n+edited", 1, true), t.float())
  t.press("y")
  t.wait_message("1 file changed")
  t.equal(lines(), { "one", "edited" }, "buffer")
  t.equal(t.read(root .. "/a.txt"), "one\nmore\n", "on disk")
end)

t.test("a command's edit of a dirty buffer and a file is told to have no undo, and none is offered", function()
  local root = open({ ["a.txt"] = "one\nmore\n" })
  t.needs_open_buffers(root)
  t.type_line(2, "unsaved")
  local change = {
    textDocument = { uri = vim.uri_from_bufnr(0) },
    edits = { { expectedText = "unsaved", newText = "edited" } },
  }
  local create = { kind = "create", uri = vim.uri_from_fname(root .. "/new.txt") }
  vim.fn.setreg('"', vim.json.encode({ documentChanges = { change, create } }))
  vim.cmd("Ploke apply")
  t.wait("the preview", t.float)
  t.press("y")
  t.wait_message("2 files changed; :Ploke undo can not take it back: ")
  t.check(not t.has_message(":Ploke undo takes it back"), "an undo was offered")
  t.equal(require("ploke").origins(root), {}, "origins")
  vim.cmd("Ploke undo")
  t.wait_message("nothing was applied from here")
end)

t.test("a dirty buffer that can not be changed refuses its edit", function()
  local root = open({ ["a.txt"] = "one\nmore\n" })
  t.needs_open_buffers(root)
  t.type_line(2, "unsaved")
  vim.bo.modifiable = false
  local result = edit(root)
  t.equal(result.applied, false, "applied")
  t.equal(lines(), { "one", "unsaved" }, "buffer")
  t.equal(t.read(root .. "/a.txt"), "one\nmore\n", "on disk")
end)

--- What the editor answers to an edit of the server.
local function answer(edits, version)
  local client = vim.lsp.get_clients({ bufnr = 0, name = "ploke" })[1]
  local change = { textDocument = { uri = vim.uri_from_bufnr(0), version = version }, edits = edits }
  return require("ploke.files").on_apply_edit(nil, { edit = { documentChanges = { change } } }, {
    client_id = client.id,
  })
end

t.test("an edit of the server for an older version of a buffer is refused", function()
  open()
  local start = { line = 0, character = 0 }
  local edits = { { range = { start = start, ["end"] = start }, newText = "2" } }
  local version = vim.lsp.util.buf_versions[vim.api.nvim_get_current_buf()]
  t.type_line(1, "unsaved")
  local refused = answer(edits, version)
  t.equal(refused.applied, false, "applied")
  t.equal(refused.failureReason, "a.txt has been changed meanwhile", "reason")
  t.equal(lines(), { "unsaved" }, "buffer")
  version = vim.lsp.util.buf_versions[vim.api.nvim_get_current_buf()]
  t.equal(answer(edits, version).applied, true, "applied, for this version")
  t.equal(lines(), { "2unsaved" }, "buffer")
end)

t.test("an edit of two buffers of which one can not be changed changes neither", function()
  open({ ["a.txt"] = "one\n", ["b.txt"] = "one\n" })
  local first = vim.api.nvim_get_current_buf()
  vim.cmd.edit("b.txt")
  local second = vim.api.nvim_get_current_buf()
  t.wait("the attachment", function()
    return #vim.lsp.get_clients({ bufnr = second, name = "ploke" }) == 1
  end)
  vim.bo[second].modifiable = false
  local start = { line = 0, character = 0 }
  local changes = vim.tbl_map(function(buffer)
    local document = { uri = vim.uri_from_bufnr(buffer), version = vim.lsp.util.buf_versions[buffer] }
    return { textDocument = document, edits = { { range = { start = start, ["end"] = start }, newText = "2" } } }
  end, { first, second })
  local client = vim.lsp.get_clients({ bufnr = 0, name = "ploke" })[1]
  local context = { client_id = client.id }
  local result = require("ploke.files").on_apply_edit(nil, { edit = { documentChanges = changes } }, context)
  t.equal(result, { applied = false, failureReason = "b.txt is not modifiable" }, "answer")
  t.equal({ lines(first), lines(second) }, { { "one" }, { "one" } }, "buffers")
end)

t.run_all()
