std = "luajit"
read_globals = { "vim" }
max_line_length = 120
files["plugin"] = { globals = { "vim.g" } }
globals = { "vim.g", "vim.b", "vim.bo", "vim.wo", "vim.o", "vim.env", "vim.notify" }
