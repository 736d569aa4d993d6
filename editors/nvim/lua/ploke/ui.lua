--- What a person sees: messages, floating windows, the quickfix list.
local M = {}

--- Says something, prefixed; safe to call from anywhere.
---@param message string
---@param level integer? of `vim.log.levels`, INFO by default
function M.notify(message, level)
  vim.schedule(function()
    vim.notify("ploke: " .. message, level or vim.log.levels.INFO, { title = "ploke" })
  end)
end

---@param message string
function M.warn(message)
  M.notify(message, vim.log.levels.WARN)
end

---@param message string
function M.error(message)
  M.notify(message, vim.log.levels.ERROR)
end

--- Opens a floating window that `q` and `<Esc>` close.
---@param lines string[]
---@param title string
---@param filetype string?
---@return integer window
---@return integer buffer
function M.float(lines, title, filetype)
  local buffer = vim.api.nvim_create_buf(false, true)
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  vim.bo[buffer].bufhidden = "wipe"
  vim.bo[buffer].filetype = filetype or ""
  vim.bo[buffer].modifiable = false

  local width = vim.api.nvim_strwidth(title) + 2
  for _, line in ipairs(lines) do
    width = math.max(width, vim.api.nvim_strwidth(line))
  end
  width = math.max(1, math.min(width, vim.o.columns - 4))
  local height = math.max(1, math.min(#lines, vim.o.lines - 6))
  local window = vim.api.nvim_open_win(buffer, true, {
    relative = "editor",
    row = math.floor((vim.o.lines - height) / 2) - 1,
    col = math.floor((vim.o.columns - width) / 2),
    width = width,
    height = height,
    style = "minimal",
    border = "rounded",
    title = " " .. title .. " ",
  })
  for _, key in ipairs({ "q", "<Esc>" }) do
    vim.keymap.set("n", key, "<Cmd>close<CR>", { buffer = buffer, nowait = true })
  end
  return window, buffer
end

--- Shows a diff and asks: `y` agrees; `n`, and closing the window in any way, does not.
---@param diff string
---@param title string
---@param on_answer fun(agreed: boolean) called exactly once
function M.confirm_diff(diff, title, on_answer)
  local lines = vim.split(diff, "\n", { trimempty = true })
  local window, buffer = M.float(lines, title .. "  y: apply  n: leave it", "diff")
  local agreed = false
  local function close()
    if vim.api.nvim_win_is_valid(window) then
      vim.api.nvim_win_close(window, true)
    end
  end
  vim.keymap.set("n", "y", function()
    agreed = true
    close()
  end, { buffer = buffer, nowait = true })
  vim.keymap.set("n", "n", close, { buffer = buffer, nowait = true })
  vim.api.nvim_create_autocmd("WinLeave", { buffer = buffer, once = true, callback = vim.schedule_wrap(close) })
  vim.api.nvim_create_autocmd("BufWipeout", {
    buffer = buffer,
    once = true,
    callback = vim.schedule_wrap(function()
      on_answer(agreed)
    end),
  })
end

--- Fills the quickfix list and opens it, or says why there is nothing to show.
---@param items table[] as of `setqflist()`
---@param title string
---@param none string
function M.quickfix(items, title, none)
  vim.fn.setqflist({}, " ", { title = title, items = items })
  if #items == 0 then
    M.notify(none)
  else
    vim.cmd("botright copen")
  end
end

return M
