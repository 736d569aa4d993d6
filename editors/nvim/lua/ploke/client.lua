--- Starts one sidecar per project, starts it again when it dies, and carries requests to it.
local answer = require("ploke.answer")
local config = require("ploke.config")
local roots = require("ploke.roots")
local ui = require("ploke.ui")

local M = {}

--- The version of the protocol that this plugin speaks.
M.PROTOCOL = 1

local NEW_LSP = vim.fn.has("nvim-0.11") == 1

--- Longer than this a sidecar has lived well: its end is no link in a chain of crashes.
local STABLE_MS = 60000
--- How long a sidecar may take to end before it is killed.
local STOP_MS = 3000

---@class ploke.Server
---@field root string
---@field state "stopped"|"starting"|"running"|"stopping"|"waiting" waiting: it has died, soon it is started again
---@field reason string? why it is stopped, if not on purpose
---@field client_id integer?
---@field capabilities table? what `initialize` said under `experimental.ploke`, and the `version`
---@field crashes integer in a row
---@field born integer of `vim.uv.now()`
---@field ready fun(err: ploke.Error?)[] called when it runs or is given up
---@field gone fun()[] called when the process has ended
---@field pending table<table, fun(err: ploke.Error)> requests without an answer

---@type table<string, ploke.Server>
local servers = {}

---@param root string
---@return ploke.Server
local function server_of(root)
  if not servers[root] then
    servers[root] = { root = root, state = "stopped", crashes = 0, born = 0, ready = {}, gone = {}, pending = {} }
  end
  return servers[root]
end

---@param server ploke.Server
---@return vim.lsp.Client?
local function lsp_client(server)
  return server.client_id and vim.lsp.get_client_by_id(server.client_id)
end

---@param client vim.lsp.Client
---@param force boolean?
local function stop_client(client, force)
  if NEW_LSP then
    client:stop(force)
  else
    client.stop(force)
  end
end

--- Tells everybody who waits for the server.
---@param server ploke.Server
---@param err ploke.Error?
local function release(server, err)
  local ready = server.ready
  server.ready = {}
  for _, call in ipairs(ready) do
    call(err)
  end
end

--- Those who wait are told why, and a person if nobody waits.
---@param server ploke.Server
---@param reason string
local function give_up(server, reason)
  server.state = "stopped"
  server.reason = reason
  if #server.ready == 0 then
    ui.error(reason)
  end
  release(server, answer.failure(reason))
end

--- Files of normal buffers below a root are shared with its server.
---@param server ploke.Server
---@param buffer integer
local function attach(server, buffer)
  local name = vim.api.nvim_buf_get_name(buffer)
  local client = lsp_client(server)
  if client and vim.api.nvim_buf_is_loaded(buffer) and vim.bo[buffer].buftype == "" and name ~= "" then
    if roots.of(buffer) == server.root and not client.attached_buffers[buffer] then
      vim.lsp.buf_attach_client(buffer, client.id)
    end
  end
end

---@param client vim.lsp.Client
---@param result table
local function on_init(client, result)
  local server = server_of(client.config.root_dir)
  if server.state == "stopping" then
    return
  end
  server.client_id, server.state = client.id, "starting"
  local capabilities = vim.tbl_get(result.capabilities, "experimental", "ploke") or {}
  local version = vim.tbl_get(result, "serverInfo", "version") or "of an unknown version"
  server.capabilities = vim.tbl_extend("force", capabilities, { version = version })
  if capabilities.protocol ~= M.PROTOCOL then
    server.client_id = nil
    stop_client(client, true)
    local advice = "ploke-io %s speaks protocol %s, this plugin needs %d: install versions that belong together"
    return give_up(server, advice:format(version, capabilities.protocol or "unknown", M.PROTOCOL))
  end
  -- Neovim itself opens the buffers that are attached already, once this function has returned.
  vim.schedule(function()
    if server.client_id ~= client.id or server.state ~= "starting" then
      return
    end
    server.state, server.reason = "running", nil
    for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
      attach(server, buffer)
    end
    release(server)
  end)
end

---@param server ploke.Server
local function start(server)
  local settings = config.get()
  local program = settings.cmd[1]
  if vim.fn.executable(program) == 0 then
    local advice = "%s was not found. Install it (cargo install --locked --path .) or set vim.g.ploke = "
      .. "{ cmd = { '/path/to/ploke-io' } }; :checkhealth ploke tells more"
    return give_up(server, advice:format(program))
  end
  server.state, server.reason, server.born = "starting", nil, vim.uv.now()
  local lsp_config = vim.deepcopy(NEW_LSP and vim.lsp.config.ploke or M.lsp_config())
  lsp_config.root_dir = server.root
  lsp_config.workspace_folders = { { uri = vim.uri_from_fname(server.root), name = vim.fs.basename(server.root) } }
  if NEW_LSP then
    local never = function()
      return false
    end
    server.client_id = vim.lsp.start(lsp_config, { attach = false, silent = true, reuse_client = never })
  else
    server.client_id = vim.lsp.start_client(lsp_config)
  end
  if not server.client_id then
    give_up(server, program .. " could not be started; :checkhealth ploke tells more")
  end
end

--- Starts a server that has died again, later each time.
---@param server ploke.Server
---@param how string
local function restart_later(server, how)
  local settings = config.get().restart
  if vim.uv.now() - server.born > STABLE_MS then
    server.crashes = 0
  end
  server.crashes = server.crashes + 1
  if server.crashes > settings.attempts then
    server.crashes = 0
    return give_up(server, how .. " again and again: look at :Ploke log, then :Ploke restart")
  end
  local delay = math.min(settings.delay_ms * 2 ^ (server.crashes - 1), settings.max_delay_ms)
  server.state = "waiting"
  ui.warn(("%s; it is started again in %g s"):format(how, delay / 1000))
  vim.defer_fn(function()
    if server.state == "waiting" then
      start(server)
    end
  end, delay)
end

---@param code integer
---@param signal integer
---@param client_id integer
local function on_exit(code, signal, client_id)
  local server = vim.iter(vim.tbl_values(servers)):find(function(one)
    return one.client_id == client_id
  end)
  if not server then
    return
  end
  server.client_id = nil
  local how = ("ploke-io has ended (code %d, signal %d)"):format(code, signal)
  for _, finish in pairs(server.pending) do
    finish(answer.failure(how .. " before it answered; whether an edit was made, reading the file tells"))
  end
  if server.state ~= "stopping" and vim.v.exiting == vim.NIL then
    return restart_later(server, how)
  end
  server.state = "stopped"
  local gone = server.gone
  server.gone = {}
  for _, call in ipairs(gone) do
    call()
  end
  if server.state == "stopped" and #server.ready > 0 then
    start(server)
  end
end

--- Starts the program for Neovim's LSP client, which on its own leaves a process running whose `initialize` failed.
---@param dispatchers vim.lsp.rpc.Dispatchers
local function spawn(dispatchers)
  local rpc = vim.lsp.rpc.start(config.get().cmd, dispatchers)
  local request = rpc.request
  rpc.request = function(method, params, callback, on_reply)
    if method ~= "initialize" then
      return request(method, params, callback, on_reply)
    end
    return request(method, params, function(err, result)
      if not err then
        return callback(err, result)
      end
      local server = server_of(vim.uri_to_fname(params.rootUri))
      server.client_id = nil
      rpc.terminate()
      give_up(server, "ploke-io did not start: " .. err.message)
    end, on_reply)
  end
  return rpc
end

--- The configuration of Neovim's LSP client, without a root.
---@return vim.lsp.ClientConfig
function M.lsp_config()
  local settings = config.get()
  local files = require("ploke.files")
  return {
    name = "ploke",
    cmd = spawn,
    init_options = next(settings.init_options) and settings.init_options or nil,
    -- What is typed is known to the server before any request that follows.
    flags = { debounce_text_changes = 0, exit_timeout = STOP_MS },
    exit_timeout = STOP_MS,
    handlers = {
      ["ploke/fileChanged"] = files.on_changed,
      ["workspace/applyEdit"] = files.on_apply_edit,
      ["window/logMessage"] = function(err, params, context)
        if params.type <= vim.lsp.protocol.MessageType.Warning then
          ui.warn(params.message)
        end
        return vim.lsp.handlers["window/logMessage"](err, params, context)
      end,
    },
    root_dir = NEW_LSP and function(buffer, on_root)
      local root = roots.of(buffer)
      if root then
        on_root(root)
      end
    end or nil,
    on_init = on_init,
    on_exit = vim.schedule_wrap(on_exit),
  }
end

--- Calls back when the server of a root runs; starts it if it does not.
---@param root string
---@param on_ready fun(err: ploke.Error?, server: ploke.Server)
function M.ensure(root, on_ready)
  local server = server_of(root)
  if server.state == "running" then
    return on_ready(nil, server)
  end
  table.insert(server.ready, function(err)
    on_ready(err, server)
  end)
  if server.state == "stopped" then
    start(server)
  end
end

--- Shares a buffer with the server of its project and starts that if need be; once it has failed, nothing happens.
---@param buffer integer
function M.autostart(buffer)
  local root = config.get().autostart and roots.of(buffer)
  local server = root and server_of(root)
  if not server then
    return
  elseif server.state == "running" then
    attach(server, buffer)
  elseif server.state == "stopped" and not server.reason then
    -- All buffers are attached when it runs.
    M.ensure(root, function(err)
      if err then
        ui.error(err.message)
      end
    end)
  end
end

--- Sends a request.
---@param root string
---@param method string
---@param params table
---@param callback fun(err: ploke.Error?, result: table?) called exactly once, from the main loop
---@return fun() cancel asks for cancellation; the callback still tells what became of the request
function M.request(root, method, params, callback)
  local handle = { done = false, cancelled = false }

  M.ensure(root, function(err, server)
    local function finish(finish_err, result)
      if not handle.done then
        handle.done = true
        server.pending[handle] = nil
        callback(finish_err, result)
      end
    end
    if err or handle.cancelled then
      return finish(err or answer.failure("cancelled", -32800))
    end
    if not vim.list_contains(server.capabilities.methods or {}, method) then
      return finish(
        answer.failure(("ploke-io %s does not know %s: update it"):format(server.capabilities.version, method))
      )
    end
    local rpc = assert(lsp_client(server)).rpc
    local sent, id = rpc.request(method, params, function(response_err, result)
      local refusal = answer.without_null(response_err)
      finish(refusal and answer.failure(refusal.message, refusal.code, refusal.data), answer.without_null(result))
    end, function()
      -- Neovim drops the answer that a request was cancelled; any other has been queued before this.
      vim.schedule(function()
        finish(answer.failure("cancelled", -32800))
      end)
    end)
    if not sent then
      return finish(answer.failure("ploke-io has just ended; try again"))
    end
    server.pending[handle] = finish
    handle.cancel = function()
      rpc.notify("$/cancelRequest", { id = id })
    end
  end)

  return function()
    handle.cancelled = true
    if handle.cancel and not handle.done then
      handle.cancel()
    end
  end
end

--- Stops the server of a root, if there is one, and calls back when it is gone.
---@param root string
---@param on_gone fun()
function M.stop(root, on_gone)
  local server = server_of(root)
  local client = lsp_client(server)
  server.reason = nil
  release(server, answer.failure("ploke-io was stopped"))
  if not client then
    server.state = "stopped"
    return on_gone()
  end
  server.state = "stopping"
  table.insert(server.gone, on_gone)
  stop_client(client)
  vim.defer_fn(function()
    if server.client_id == client.id then
      stop_client(client, true)
    end
  end, STOP_MS)
end

---@param root string
---@param on_ready fun(err: ploke.Error?)
function M.restart(root, on_ready)
  M.stop(root, function()
    server_of(root).crashes = 0
    M.ensure(root, on_ready)
  end)
end

--- All servers of this Neovim, also stopped ones.
---@return ploke.Server[]
function M.servers()
  return vim.tbl_values(servers)
end

return M
