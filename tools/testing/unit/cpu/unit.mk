# SPDX-License-Identifier: GPL-2.0
cpu-srcs := arch/x86/cpu/cpuid_table.c arch/x86/cpu/cr_check.c arch/x86/cpu/msr_filter.c arch/x86/cpu/mtrr.c
