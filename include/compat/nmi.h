/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The entry of the NMI handler that does not need an interrupt stack of its own, exported for VMX.
 *
 * It was asm_exc_nmi_noist until 6.2; <asm/fred.h>, which came later, tells the newer name.
 */
#ifndef STRATA_COMPAT_NMI_H
#define STRATA_COMPAT_NMI_H

#if __has_include(<asm/fred.h>)
#define host_nmi_entry	asm_exc_nmi_kvm_vmx
#else
#define host_nmi_entry	asm_exc_nmi_noist
#endif

#endif
