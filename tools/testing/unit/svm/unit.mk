# SPDX-License-Identifier: GPL-2.0
svm-srcs := arch/x86/svm/nested_check.c
