/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints that tools know: the names and fields that perf kvm, kvm_stat and trace-cmd read.
 * What has no reader there may differ. Documentation/tracing.rst lists them.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvm

#if !defined(STRATA_TRACE_KVM_H) || defined(TRACE_HEADER_MULTI_READ)
#define STRATA_TRACE_KVM_H

#include <linux/tracepoint.h>
#include <linux/kvm.h>
#include <uapi/asm/svm.h>
#include <uapi/asm/vmx.h>

#include "backend.h"
#include "strata.h"

/* kvm_mmio's type */
#define STRATA_MMIO_UNSATISFIED	0
#define STRATA_MMIO_READ	1
#define STRATA_MMIO_WRITE	2

#define strata_exit_name(isa, reason)						\
	((isa) == STRATA_ISA_VMX ?						\
	 __print_symbolic((reason) & 0xffff, VMX_EXIT_REASONS) :		\
	 __print_symbolic(reason, SVM_EXIT_REASONS))

#define strata_exception_names							\
	{ 0, "#DE" }, { 1, "#DB" }, { 3, "#BP" }, { 4, "#OF" }, { 5, "#BR" },	\
	{ 6, "#UD" }, { 7, "#NM" }, { 8, "#DF" }, { 10, "#TS" }, { 11, "#NP" },	\
	{ 12, "#SS" }, { 13, "#GP" }, { 14, "#PF" }, { 16, "#MF" },		\
	{ 17, "#AC" }, { 18, "#MC" }, { 19, "#XM" }

TRACE_EVENT(kvm_entry,
	TP_PROTO(struct vcpu *v),
	TP_ARGS(v),
	TP_STRUCT__entry(
		__field(unsigned int, vcpu_id)
		__field(unsigned long, rip)
		__field(unsigned int, level)
	),
	TP_fast_assign(
		__entry->vcpu_id = v->virt.id;
		__entry->rip = vcpu_rip(v);
		__entry->level = v->guest_mode ? 2 : 1;
	),
	TP_printk("vcpu %u rip 0x%lx L%u", __entry->vcpu_id, __entry->rip, __entry->level)
);

TRACE_EVENT(kvm_exit,
	TP_PROTO(struct vcpu *v),
	TP_ARGS(v),
	TP_STRUCT__entry(
		__field(unsigned int, exit_reason)
		__field(unsigned long, guest_rip)
		__field(u32, isa)
		__field(u64, info1)
		__field(u64, info2)
		__field(unsigned int, vcpu_id)
		__field(unsigned int, level)
	),
	TP_fast_assign(
		backend_call(exit_info)(v, &__entry->exit_reason, &__entry->info1, &__entry->info2);
		__entry->guest_rip = vcpu_rip(v);
		__entry->isa = backend_caps.isa;
		__entry->vcpu_id = v->virt.id;
		__entry->level = v->guest_mode ? 2 : 1;
	),
	TP_printk("vcpu %u reason %s rip 0x%lx info1 0x%llx info2 0x%llx L%u", __entry->vcpu_id,
		  strata_exit_name(__entry->isa, __entry->exit_reason), __entry->guest_rip,
		  __entry->info1, __entry->info2, __entry->level)
);

TRACE_EVENT(kvm_mmio, TP_PROTO(int type, unsigned int len, u64 gpa, const void *data),
	    TP_ARGS(type, len, gpa, data),
	    TP_STRUCT__entry(__field(u32, type) __field(u32, len) __field(u64, gpa)
				     __field(u64, val)),
	    TP_fast_assign(__entry->type = type; __entry->len = len; __entry->gpa = gpa;
			   __entry->val = 0; if (type != STRATA_MMIO_UNSATISFIED)
				   memcpy(&__entry->val, data, min(len, 8u));),
	    TP_printk("%s len %u gpa 0x%llx val 0x%llx",
		      __print_symbolic(__entry->type, { 0, "unsatisfied read" }, { 1, "read" },
				       { 2, "write" }),
		      __entry->len, __entry->gpa, __entry->val));

TRACE_EVENT(kvm_pio,
	TP_PROTO(bool write, u16 port, unsigned int size, const void *data),
	TP_ARGS(write, port, size, data),
	TP_STRUCT__entry(
		__field(unsigned int, rw)
		__field(unsigned int, port)
		__field(unsigned int, size)
		__field(unsigned int, count)
		__field(unsigned int, val)
	),
	TP_fast_assign(
		__entry->rw = write;
		__entry->port = port;
		__entry->size = size;
		__entry->count = 1;
		__entry->val = 0;
		if (data)
			memcpy(&__entry->val, data, min(size, 4u));
	),
	TP_printk("%s at 0x%x size %u val 0x%x", __entry->rw ? "write" : "read", __entry->port, __entry->size,
		  __entry->val)
);

TRACE_EVENT(kvm_msr,
	TP_PROTO(bool write, u32 ecx, u64 data, bool exception),
	TP_ARGS(write, ecx, data, exception),
	TP_STRUCT__entry(
		__field(unsigned int, write)
		__field(u32, ecx)
		__field(u64, data)
		__field(u8, exception)
	),
	TP_fast_assign(
		__entry->write = write;
		__entry->ecx = ecx;
		__entry->data = data;
		__entry->exception = exception;
	),
	TP_printk("%s 0x%x = 0x%llx%s", __entry->write ? "write" : "read", __entry->ecx, __entry->data,
		  __entry->exception ? " (#GP)" : "")
);

TRACE_EVENT(kvm_cr,
	TP_PROTO(unsigned int cr, unsigned long val),
	TP_ARGS(cr, val),
	TP_STRUCT__entry(
		__field(unsigned int, rw)
		__field(unsigned int, cr)
		__field(unsigned long, val)
	),
	TP_fast_assign(
		__entry->rw = 1;
		__entry->cr = cr;
		__entry->val = val;
	),
	TP_printk("write CR%u = 0x%lx", __entry->cr, __entry->val)
);

TRACE_EVENT(kvm_cpuid, TP_PROTO(u32 function, u32 index, const unsigned long *regs),
	    TP_ARGS(function, index, regs),
	    TP_STRUCT__entry(__field(unsigned int, function) __field(unsigned int, index)
				     __field(unsigned long, rax) __field(unsigned long, rbx)
					     __field(unsigned long, rcx)
						     __field(unsigned long, rdx)),
	    TP_fast_assign(__entry->function = function; __entry->index = index;
			   __entry->rax = regs[REG_RAX]; __entry->rbx = regs[REG_RBX];
			   __entry->rcx = regs[REG_RCX]; __entry->rdx = regs[REG_RDX];),
	    TP_printk("func 0x%x index 0x%x rax %lx rbx %lx rcx %lx rdx %lx", __entry->function,
		      __entry->index, __entry->rax, __entry->rbx, __entry->rcx, __entry->rdx));

TRACE_EVENT(kvm_hypercall, TP_PROTO(const unsigned long *regs), TP_ARGS(regs),
	    TP_STRUCT__entry(__field(unsigned long, nr) __field(unsigned long, a0)
				     __field(unsigned long, a1) __field(unsigned long, a2)
					     __field(unsigned long, a3)),
	    TP_fast_assign(__entry->nr = regs[REG_RAX]; __entry->a0 = regs[REG_RBX];
			   __entry->a1 = regs[REG_RCX]; __entry->a2 = regs[REG_RDX];
			   __entry->a3 = regs[REG_RSI];),
	    TP_printk("nr 0x%lx a0 0x%lx a1 0x%lx a2 0x%lx a3 0x%lx", __entry->nr, __entry->a0,
		      __entry->a1, __entry->a2, __entry->a3));

TRACE_EVENT(kvm_inj_virq,
	TP_PROTO(unsigned int vec, bool soft, bool reinjected),
	TP_ARGS(vec, soft, reinjected),
	TP_STRUCT__entry(
		__field(unsigned int, vec)
		__field(bool, soft)
		__field(bool, reinjected)
	),
	TP_fast_assign(
		__entry->vec = vec;
		__entry->soft = soft;
		__entry->reinjected = reinjected;
	),
	TP_printk("%s 0x%x%s", __entry->soft ? "INT" : "IRQ", __entry->vec,
		  __entry->reinjected ? " [reinjected]" : "")
);

TRACE_EVENT(kvm_inj_exception,
	TP_PROTO(const struct event *e, bool reinjected),
	TP_ARGS(e, reinjected),
	TP_STRUCT__entry(
		__field(u8, exception)
		__field(u8, has_error)
		__field(u32, error_code)
		__field(bool, reinjected)
	),
	TP_fast_assign(
		__entry->exception = e->vector;
		__entry->has_error = e->has_error;
		__entry->error_code = e->error;
		__entry->reinjected = reinjected;
	),
	TP_printk("%s (0x%x)%s", __print_symbolic(__entry->exception, strata_exception_names),
		  __entry->error_code, __entry->reinjected ? " [reinjected]" : "")
);

TRACE_EVENT(kvm_page_fault, TP_PROTO(struct vcpu *v, u64 gpa, u64 error), TP_ARGS(v, gpa, error),
	    TP_STRUCT__entry(__field(unsigned int, vcpu_id) __field(unsigned long, guest_rip)
				     __field(u64, fault_address) __field(u64, error_code)),
	    TP_fast_assign(__entry->vcpu_id = v->virt.id; __entry->guest_rip = vcpu_rip(v);
			   __entry->fault_address = gpa; __entry->error_code = error;),
	    TP_printk("vcpu %u rip 0x%lx address 0x%llx error_code 0x%llx", __entry->vcpu_id,
		      __entry->guest_rip, __entry->fault_address, __entry->error_code));

TRACE_EVENT(kvm_smm_transition,
	TP_PROTO(struct vcpu *v, u64 smbase, bool entering),
	TP_ARGS(v, smbase, entering),
	TP_STRUCT__entry(
		__field(unsigned int, vcpu_id)
		__field(u64, smbase)
		__field(bool, entering)
	),
	TP_fast_assign(
		__entry->vcpu_id = v->virt.id;
		__entry->smbase = smbase;
		__entry->entering = entering;
	),
	TP_printk("vcpu %u %s SMM, smbase 0x%llx", __entry->vcpu_id, __entry->entering ? "entering" : "leaving",
		  __entry->smbase)
);

TRACE_EVENT(kvm_userspace_exit,
	TP_PROTO(u32 reason, int ret),
	TP_ARGS(reason, ret),
	TP_STRUCT__entry(
		__field(u32, reason)
		__field(int, errno)
	),
	TP_fast_assign(
		__entry->reason = reason;
		__entry->errno = -ret;
	),
	TP_printk("reason %u errno %d", __entry->reason, __entry->errno)
);

TRACE_EVENT(kvm_set_irq,
	TP_PROTO(unsigned int gsi, int level, int source),
	TP_ARGS(gsi, level, source),
	TP_STRUCT__entry(
		__field(unsigned int, gsi)
		__field(int, level)
		__field(int, irq_source_id)
	),
	TP_fast_assign(
		__entry->gsi = gsi;
		__entry->level = level;
		__entry->irq_source_id = source;
	),
	TP_printk("gsi %u level %d source %d", __entry->gsi, __entry->level, __entry->irq_source_id)
);

DECLARE_EVENT_CLASS(strata_async_pf,
	TP_PROTO(u64 token, u64 gva),
	TP_ARGS(token, gva),
	TP_STRUCT__entry(
		__field(u64, token)
		__field(u64, gva)
	),
	TP_fast_assign(
		__entry->token = token;
		__entry->gva = gva;
	),
	TP_printk("token %#llx gva %#llx", __entry->token, __entry->gva)
);

DEFINE_EVENT(strata_async_pf, kvm_async_pf_not_present, TP_PROTO(u64 token, u64 gva), TP_ARGS(token, gva));
DEFINE_EVENT(strata_async_pf, kvm_async_pf_ready, TP_PROTO(u64 token, u64 gva), TP_ARGS(token, gva));

TRACE_EVENT(kvm_msi_set_irq,
	TP_PROTO(u64 address, u64 data),
	TP_ARGS(address, data),
	TP_STRUCT__entry(
		__field(u64, address)
		__field(u64, data)
	),
	TP_fast_assign(
		__entry->address = address;
		__entry->data = data;
	),
	TP_printk("address 0x%llx data 0x%llx", __entry->address, __entry->data)
);

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace_kvm
#include <trace/define_trace.h>
