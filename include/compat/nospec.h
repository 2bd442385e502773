/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Mitigation macros for assembly, which 6.1 names differently.
 */
#ifndef STRATA_COMPAT_NOSPEC_H
#define STRATA_COMPAT_NOSPEC_H

#include <asm/cpufeatures.h>
#include <asm/nospec-branch.h>

/* 6.1 has the untraining of the kernel entry only; what a VM exit needs beyond it follows here. */
#ifndef UNTRAIN_RET_VM
#ifdef X86_FEATURE_IBPB_ON_VMEXIT
#define UNTRAIN_RET_VM UNTRAIN_RET; ALTERNATIVE "", "call entry_ibpb", X86_FEATURE_IBPB_ON_VMEXIT
#else
#define UNTRAIN_RET_VM UNTRAIN_RET
#endif
#endif

#endif
