# SPDX-License-Identifier: GPL-2.0
emulate-srcs := $(patsubst $(top)/%,%,$(wildcard $(top)/arch/x86/emulate/*.c))
emulate-libs := capstone
