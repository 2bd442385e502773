# SPDX-License-Identifier: GPL-2.0
vmx-srcs := arch/x86/vmx/caps_pure.c arch/x86/vmx/guest_check.c arch/x86/vmx/perf_pure.c
vmx-cflags := -Wno-unused-parameter
