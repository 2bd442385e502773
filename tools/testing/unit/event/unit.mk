# SPDX-License-Identifier: GPL-2.0
event-srcs := arch/x86/event/event.c arch/x86/event/next.c arch/x86/event/abi.c
event-cflags := -I$(top)/include/uapi -include $(CURDIR)/event/rules.h
