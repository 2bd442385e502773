/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints of the event queue: one for each thing that happens to an event. They stand at the
 * edges of the pure core, in the run loop and the ioctls. tools/trace/timeline draws them;
 * Documentation/events.rst says what each means.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM strata

#if !defined(STRATA_TRACE_QUEUE_H) || defined(TRACE_HEADER_MULTI_READ)
#define STRATA_TRACE_QUEUE_H

#include <linux/tracepoint.h>
#include <linux/kvm.h>

#include "strata.h"

#ifndef STRATA_TRACE_NAMES
#define STRATA_TRACE_NAMES

/* Where an event waits now (strata_event_queued) */
#define TRACE_PLACES(X)				\
	X(PLACE_INBOX, "inbox")			\
	X(PLACE_EXCEPTION, "exception")		\
	X(PLACE_STASH, "stash")			\
	X(PLACE_LAPIC, "LAPIC")			\
	X(PLACE_PIC, "PIC")			\
	X(PLACE_TRAP, "pending debug")

#define X(name, text) name,
enum trace_place { TRACE_PLACES(X) };
#undef X

/* Kinds that have no struct event, numbered behind those that have */
enum trace_kind { TRACE_SMI = EVENT_PRIV_EXCEPTION + 1, TRACE_INIT, TRACE_SIPI, TRACE_SHUTDOWN };

#define TRACE_KINDS(X)				\
	X(EVENT_NONE, "none")			\
	X(EVENT_INTERRUPT, "interrupt")		\
	X(EVENT_NMI, "NMI")			\
	X(EVENT_EXCEPTION, "exception")		\
	X(EVENT_SOFT_INT, "INT n")		\
	X(EVENT_SOFT_EXCEPTION, "soft exception") \
	X(EVENT_PRIV_EXCEPTION, "INT1")		\
	X(TRACE_SMI, "SMI")			\
	X(TRACE_INIT, "INIT")			\
	X(TRACE_SIPI, "SIPI")			\
	X(TRACE_SHUTDOWN, "shutdown")

#define TRACE_CAUSES(X)				\
	X(CAUSE_NONE, "none")			\
	X(CAUSE_EXCEPTION, "exception")		\
	X(CAUSE_INTR, "interrupt")		\
	X(CAUSE_NMI, "NMI")			\
	X(CAUSE_SMI, "SMI")			\
	X(CAUSE_INIT, "INIT")			\
	X(CAUSE_SIPI, "SIPI")			\
	X(CAUSE_SHUTDOWN, "shutdown")		\
	X(CAUSE_MTF, "MTF")			\
	X(CAUSE_TIMER, "preemption timer")

/* What the CPU is to exit for (strata_event_windowed) */
#define TRACE_WINDOW_IRQ	0x01
#define TRACE_WINDOW_NMI	0x02
#define TRACE_WINDOW_SMI	0x04
#define TRACE_WINDOW_GIF	0x08
#define TRACE_WINDOW_SOON	0x10
#define TRACE_WINDOW_TRAP	0x20
#endif

/* Readers of the formats see numbers where the code has names of an enum. */
#define X(name, text) TRACE_DEFINE_ENUM(name);
TRACE_PLACES(X)
TRACE_KINDS(X)
TRACE_CAUSES(X)
#undef X

#define TRACE_ROW(name, text) { name, text },
#define strata_show_place(place) __print_symbolic(place, TRACE_PLACES(TRACE_ROW) { -1, "" })
#define strata_show_kind(kind) __print_symbolic(kind, TRACE_KINDS(TRACE_ROW) { -1, "" })
#define strata_show_cause(cause) __print_symbolic(cause, TRACE_CAUSES(TRACE_ROW) { -1, "" })

/* One event, where the vCPU is. */
DECLARE_EVENT_CLASS(strata_event,
	TP_PROTO(struct vcpu *v, const struct event *e),
	TP_ARGS(v, e),
	TP_STRUCT__entry(
		__field(unsigned int, vcpu_id)
		__field(u8, level)
		__field(u8, kind)
		__field(u8, vector)
		__field(u8, len)
		__field(bool, has_error)
		__field(u32, error)
	),
	TP_fast_assign(
		__entry->vcpu_id = v->virt.id;
		__entry->level = v->guest_mode ? 2 : 1;
		__entry->kind = e->type;
		__entry->vector = e->vector;
		__entry->len = e->len;
		__entry->has_error = e->has_error;
		__entry->error = e->error;
	),
	TP_printk("vcpu %u L%u %s vector %u error 0x%x len %u", __entry->vcpu_id, __entry->level,
		  strata_show_kind(__entry->kind), __entry->vector, __entry->error, __entry->len)
);

/* event_next() chose it: it goes into the next entry. */
DEFINE_EVENT(strata_event, strata_event_picked,
	TP_PROTO(struct vcpu *v, const struct event *e), TP_ARGS(v, e));

/* The guest was entered with it and it is through. */
DEFINE_EVENT(strata_event, strata_event_delivered,
	TP_PROTO(struct vcpu *v, const struct event *e), TP_ARGS(v, e));

/* Its delivery was interrupted by an exit: it goes into the next entry again. */
DEFINE_EVENT(strata_event, strata_event_reinjected,
	TP_PROTO(struct vcpu *v, const struct event *e), TP_ARGS(v, e));

TRACE_EVENT(strata_event_queued, TP_PROTO(struct vcpu *v, int place, int kind, u8 vector),
	    TP_ARGS(v, place, kind, vector),
	    TP_STRUCT__entry(__field(unsigned int, vcpu_id) __field(u8, level) __field(u8, place)
				     __field(u8, kind) __field(u8, vector)),
	    TP_fast_assign(__entry->vcpu_id = v->virt.id;
			   __entry->level = READ_ONCE(v->guest_mode) ? 2 : 1;
			   __entry->place = place; __entry->kind = kind; __entry->vector = vector;),
	    TP_printk("vcpu %u L%u %s vector %u in %s", __entry->vcpu_id, __entry->level,
		      strata_show_kind(__entry->kind), __entry->vector,
		      strata_show_place(__entry->place)));

TRACE_EVENT(strata_event_intercepted, TP_PROTO(struct vcpu *v, int cause, const struct event *e),
	    TP_ARGS(v, cause, e),
	    TP_STRUCT__entry(__field(unsigned int, vcpu_id) __field(u8, cause) __field(u8, kind)
				     __field(u8, vector) __field(u32, error)),
	    TP_fast_assign(__entry->vcpu_id = v->virt.id; __entry->cause = cause;
			   __entry->kind = e->type; __entry->vector = e->vector;
			   __entry->error = e->error;),
	    TP_printk("vcpu %u by L1 for %s: %s vector %u error 0x%x", __entry->vcpu_id,
		      strata_show_cause(__entry->cause), strata_show_kind(__entry->kind),
		      __entry->vector, __entry->error));

TRACE_EVENT(strata_event_windowed,
	TP_PROTO(struct vcpu *v, unsigned int windows),
	TP_ARGS(v, windows),
	TP_STRUCT__entry(
		__field(unsigned int, vcpu_id)
		__field(u8, level)
		__field(u8, windows)
	),
	TP_fast_assign(
		__entry->vcpu_id = v->virt.id;
		__entry->level = v->guest_mode ? 2 : 1;
		__entry->windows = windows;
	),
	TP_printk("vcpu %u L%u window %s", __entry->vcpu_id, __entry->level,
		  __print_flags(__entry->windows, "|",
				{ TRACE_WINDOW_IRQ, "IRQ" }, { TRACE_WINDOW_NMI, "NMI" }, { TRACE_WINDOW_SMI, "SMI" },
				{ TRACE_WINDOW_GIF, "GIF" }, { TRACE_WINDOW_SOON, "at once" },
				{ TRACE_WINDOW_TRAP, "trap" }))
);

/* The image of KVM_GET_VCPU_EVENTS and KVM_SET_VCPU_EVENTS */
DECLARE_EVENT_CLASS(strata_image,
	TP_PROTO(struct vcpu *v, const struct kvm_vcpu_events *events),
	TP_ARGS(v, events),
	TP_STRUCT__entry(
		__field(unsigned int, vcpu_id)
		__field(u8, level)
		__field(bool, injected)
		__field(bool, pending)
		__field(u8, exception)
		__field(bool, interrupt)
		__field(u8, vector)
		__field(u8, nmis)
		__field(bool, nmi_injected)
		__field(bool, nmi_masked)
		__field(bool, smi)
		__field(bool, smm)
		__field(bool, triple_fault)
		__field(u8, shadow)
		__field(u32, flags)
	),
	TP_fast_assign(
		__entry->vcpu_id = v->virt.id;
		__entry->level = v->guest_mode ? 2 : 1;
		__entry->injected = events->exception.injected;
		__entry->pending = events->exception.pending;
		__entry->exception = events->exception.nr;
		__entry->interrupt = events->interrupt.injected;
		__entry->vector = events->interrupt.nr;
		__entry->nmis = events->nmi.pending;
		__entry->nmi_injected = events->nmi.injected;
		__entry->nmi_masked = events->nmi.masked;
		__entry->smi = events->smi.pending;
		__entry->smm = events->smi.smm;
		__entry->triple_fault = events->triple_fault.pending;
		__entry->shadow = events->interrupt.shadow;
		__entry->flags = events->flags;
	),
	TP_printk("vcpu %u L%u exception %u%s%s interrupt %u%s NMI %u%s%s shadow %u flags 0x%x%s%s%s", __entry->vcpu_id,
		  __entry->level, __entry->exception, __entry->injected ? " injected" : "",
		  __entry->pending ? " pending" : "", __entry->vector, __entry->interrupt ? " injected" : "",
		  __entry->nmis, __entry->nmi_injected ? " injected" : "", __entry->nmi_masked ? " masked" : "",
		  __entry->shadow, __entry->flags, __entry->smi ? " SMI" : "", __entry->smm ? " SMM" : "",
		  __entry->triple_fault ? " triple-fault" : "")
);

DEFINE_EVENT(strata_image, strata_events_saved,
	TP_PROTO(struct vcpu *v, const struct kvm_vcpu_events *events), TP_ARGS(v, events));

DEFINE_EVENT(strata_image, strata_events_restored,
	TP_PROTO(struct vcpu *v, const struct kvm_vcpu_events *events), TP_ARGS(v, events));

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace_queue
#include <trace/define_trace.h>
